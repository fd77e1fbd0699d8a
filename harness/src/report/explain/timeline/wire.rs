//! The lane of the link: packets that wait in a queue, and travel.

use std::collections::HashSet;

use maud::{Markup, html};

use super::draw::{Chart, class, packet_at, pc, px};
use super::events::Of;
use super::head::Head;
use super::packets::Journey;
use crate::scenario::Way;

/// With more packets than this none has words.
const MOST_LABELS: usize = 60;
/// The height of words.
const LABEL_PX: f64 = 8.5;
/// With more packets of a direction than this their bars are thin.
const MOST_THICK: usize = 12;

/// The height of an arrow where its words are.
fn label_y(from: f64, to: f64) -> f64 {
    from + (to - from) * (0.8 - 0.14) / (0.99 - 0.14)
}

impl Chart<'_> {
    pub(super) fn packet(&self, journey: &Journey, label: &str, shown: [Option<u8>; 3]) -> Markup {
        let link = self.lanes.link;
        let watched = self.story.watched[journey.way as usize];
        let (x, queue_x) = (|share| self.x(journey.way, share), self.queue_x(journey));
        let first = journey.first().map_or(0, |it| it.index);
        let ys = self.ys(journey);
        let colour = |stage: usize| {
            let known = shown[stage].or(shown[..stage].iter().flatten().next_back().copied());
            known.map_or("gx".to_string(), class)
        };
        let data = matches!(journey.head, Head::Tcp(tcp) if tcp.len > 0)
            || !matches!(journey.head, Head::Tcp(_));
        let weight = match (data, self.slots[journey.way as usize].len() > MOST_THICK) {
            (true, false) => "data",
            (true, true) => "data thin",
            (false, _) => "bare",
        };
        let wire = self.wire(journey, ys);
        let lost = match ys {
            [_, Some(left), None] if watched[2] => Some((x(0.5), left)),
            [Some(queued), None, None] if watched[1] => Some((queue_x, queued + 9.0)),
            _ => None,
        };
        let labelled = self.labelled.contains(&first);
        html! {
            @if let [Some(queued), Some(left), _] = ys {
                line class={ "waits " (weight) " " (colour(0)) } x1=(pc(queue_x)) x2=(pc(queue_x)) y1=(px(queued)) y2=(px(left.max(queued + 2.0))) {}
            }
            @if let ([Some(queued), None, _], Some((_, until))) = (ys, lost) {
                line class={ "waits " (weight) " " (colour(0)) } x1=(pc(queue_x)) x2=(pc(queue_x)) y1=(px(queued)) y2=(px(until)) {}
            }
            @if let Some((x1, y1, x2, y2)) = wire {
                line class="touch" x1=(pc(x1)) x2=(pc(x2)) y1=(px(y1)) y2=(px(y2)) {}
                line class={ "wire " (weight) " " (colour(2)) } x1=(pc(x1)) x2=(pc(x2)) y1=(px(y1)) y2=(px(y2))
                    marker-end={ "url(#head" (self.number) ")" } {}
                @if labelled {
                    // Above the arrow, whatever its direction: between two of them there is room
                    // for one. Towards its head: the middle is for what the link is told.
                    text class="packet-text" x=(pc(x(0.8))) y=(px(label_y(y1, y2) - 2.5)) { (label) }
                }
            }
            @if let Some((x, y)) = lost {
                @if wire.is_none() && matches!(ys, [_, Some(_), None]) {
                    line class={ "wire " (weight) " " (colour(1)) } x1=(pc(queue_x)) x2=(pc(x)) y1=(px(y)) y2=(px(y)) {}
                }
                text class="lost" x=(pc(x)) y=(px(y + 4.0)) { "✕" }
                @if self.packets <= MOST_LABELS {
                    text class="packet-text" x=(pc(link.at(0.5))) y=(px(y + 3.5)) { (label) }
                }
            }
        }
    }

    /// From where to where a packet is drawn to travel, if it does.
    fn wire(&self, journey: &Journey, ys: [Option<f64>; 3]) -> Option<(f64, f64, f64, f64)> {
        let watched = self.story.watched[journey.way as usize];
        let (x, queue_x) = (|share| self.x(journey.way, share), self.queue_x(journey));
        match ys {
            [_, Some(left), Some(arrived)] => Some((queue_x, left, x(0.99), arrived)),
            [Some(queued), None, Some(arrived)] if !watched[1] => {
                Some((queue_x, queued, x(0.99), arrived))
            }
            [None, None, Some(arrived)] => Some((x(0.7), arrived, x(0.99), arrived)),
            [_, Some(left), None] if !watched[2] => Some((queue_x, left, x(0.6), left)),
            [Some(queued), None, None] if !watched[1] && !watched[2] => {
                Some((queue_x, queued, x(0.6), queued))
            }
            _ => None,
        }
    }

    /// A place in the lane: data comes from the left, what answers it from the right.
    fn x(&self, way: Way, share: f64) -> f64 {
        match way {
            Way::Data => self.lanes.link.at(share),
            Way::Ack => self.lanes.link.at(1.0 - share),
        }
    }

    /// What waits beside another packet takes a place of its own.
    fn queue_x(&self, journey: &Journey) -> f64 {
        let first = journey.first().map_or(0, |it| it.index);
        let mut slots = self.slots[journey.way as usize].iter();
        let slot = slots.find(|(index, ..)| *index == first);
        self.x(journey.way, 0.03 + 0.22 * slot.map_or(0.5, |it| it.1))
    }

    fn ys(&self, journey: &Journey) -> [Option<f64>; 3] {
        let sights = journey.sights.each_ref();
        sights.map(|sight| sight.as_ref().map(|it| self.y(packet_at(it))))
    }

    /// The packets whose words do not lie on those of another, by their first sight.
    pub(super) fn labelled(&self) -> HashSet<usize> {
        let mut labelled = HashSet::new();
        let mut last = f64::MIN;
        for event in &self.story.events {
            let Of::Packet { journey, .. } = &event.of else {
                continue;
            };
            let first = journey.first().map(|it| it.index);
            let wire = self.wire(journey, self.ys(journey));
            if let (Some(first), Some((_, y1, _, y2))) = (first, wire) {
                let y = label_y(y1, y2);
                if y - last >= LABEL_PX && self.packets <= MOST_LABELS {
                    labelled.insert(first);
                    last = y;
                }
            }
        }
        labelled
    }

    /// By the first sight of each packet of a direction: its place among those that wait
    /// at the same time, from 0 to 1.
    pub(super) fn slots(&self, way: Way) -> Vec<(usize, f64)> {
        let mut busy: Vec<f64> = Vec::new();
        let mut taken: Vec<(usize, usize)> = Vec::new();
        for event in &self.story.events {
            let Of::Packet { journey, .. } = &event.of else {
                continue;
            };
            let Some(first) = journey.first().filter(|_| journey.way == way) else {
                continue;
            };
            let from = self.y(packet_at(first));
            let until = journey.sights[1]
                .as_ref()
                .map_or(from, |it| self.y(packet_at(it)));
            let slot = busy
                .iter()
                .position(|free| *free < from)
                .unwrap_or_else(|| {
                    busy.push(0.0);
                    busy.len() - 1
                });
            busy[slot] = until.max(from);
            taken.push((first.index, slot));
        }
        let all = busy.len().max(1) as f64;
        let share = |(index, slot)| (index, (slot as f64 + 0.5) / all);
        taken.into_iter().map(share).collect()
    }
}
