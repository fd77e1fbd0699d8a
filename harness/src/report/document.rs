//! What all pages have in common: one file that needs no network.

use maud::{DOCTYPE, Markup, PreEscaped, html};

/// What a page is made of.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    /// What makes it: `inflight coverage`.
    pub kind: &'a str,
    /// What it is about.
    pub title: &'a str,
    /// CSS, as it is.
    pub style: &'a str,
    /// JavaScript, as it is; empty: none.
    pub script: &'a str,
    /// From one reading to the next; `None`: it does not change.
    pub refresh_s: Option<u32>,
}

impl Document<'_> {
    /// The page, as HTML: `lead` stands below the title, `body` below both.
    pub fn page(self, lead: &Markup, body: &Markup) -> String {
        let Document {
            kind,
            title,
            style,
            script,
            refresh_s,
        } = self;
        let markup = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    @if let Some(refresh_s) = refresh_s {
                        meta http-equiv="refresh" content=(refresh_s);
                    }
                    title { (title) " – " (kind) }
                    style { (PreEscaped(style)) }
                }
                body {
                    header {
                        p class="kind" { (kind) }
                        h1 { (title) }
                        (lead)
                    }
                    (body)
                    @if !script.is_empty() { script { (PreEscaped(script)) } }
                }
            }
        };
        markup.into_string()
    }
}
