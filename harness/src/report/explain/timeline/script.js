'use strict';
{
  const tip = document.getElementById('tip');
  const lit = new Set();
  const clear = () => {
    for (const element of lit) element.classList.remove('lit');
    lit.clear();
  };
  const hide = () => { tip.hidden = true; clear(); };
  // Beside the point, and within the window.
  const place = (x, y) => {
    const room = 8;
    const { width, height } = tip.getBoundingClientRect();
    const right = document.documentElement.clientWidth - width - room;
    const below = y + 16 + height < window.innerHeight;
    tip.style.left = Math.max(room, Math.min(x + 12, right)) + 'px';
    tip.style.top = Math.max(room, below ? y + 16 : y - height - 12) + 'px';
  };
  const show = (mark, x, y) => {
    clear();
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    place(x, y);
    const row = document.getElementById(mark.dataset.row);
    for (const element of [mark, row]) {
      if (element) { element.classList.add('lit'); lit.add(element); }
    }
  };
  for (const chart of document.querySelectorAll('svg.chart')) {
    const marks = [...chart.querySelectorAll('.mark')];
    for (const mark of marks) {
      // The browser's own tooltip would come on top of ours.
      const title = mark.querySelector('title');
      mark.dataset.tip = title.textContent;
      mark.setAttribute('aria-label', title.textContent.replaceAll('\n', '; '));
      title.remove();
      mark.addEventListener('pointerenter', (event) => show(mark, event.clientX, event.clientY));
      mark.addEventListener('pointermove', (event) => place(event.clientX, event.clientY));
      mark.addEventListener('pointerleave', (event) => { if (event.pointerType === 'mouse') hide(); });
      mark.addEventListener('focus', () => {
        const box = mark.getBoundingClientRect();
        show(mark, box.left + box.width / 2, Math.min(box.bottom, window.innerHeight - 20));
      });
      mark.addEventListener('blur', hide);
    }
    // One stop for Tab; the arrows go from mark to mark in the order of time.
    chart.addEventListener('keydown', (event) => {
      const at = marks.indexOf(document.activeElement);
      const steps = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };
      const ends = { Home: 0, End: marks.length - 1 };
      if (event.key === 'Escape') hide();
      const to = event.key in ends ? ends[event.key] : at + (steps[event.key] ?? 0);
      if (at < 0 || to === at || !marks[to]) return;
      event.preventDefault();
      marks[at].tabIndex = -1;
      marks[to].tabIndex = 0;
      marks[to].focus();
    });
  }
  document.addEventListener('pointerdown', (event) => { if (!event.target.closest('.mark')) hide(); });
  for (const row of document.querySelectorAll('tr[id]')) {
    const mark = document.querySelector(`[data-row="${row.id}"]`);
    row.addEventListener('pointerenter', () => { clear(); mark.classList.add('lit'); lit.add(mark); });
    row.addEventListener('pointerleave', clear);
  }
}
