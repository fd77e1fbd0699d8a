//! The events of a run in words: what the chart shows, for those who cannot see it or
//! want to search it.

use maud::{Markup, html};

use super::events::Story;
use super::scale::instant;

/// The table of a story, the `number`th of the page.
pub fn table(number: usize, story: &Story<'_>) -> Markup {
    html! {
        details class="events" open[story.events.len() <= 60] {
            summary { "Events on " (story.run.kernel) " (" (story.events.len()) ")" }
            table {
                caption { "Every event on " (story.run.kernel) ", in order" }
                thead {
                    tr { th scope="col" { "at" } th scope="col" { "who" } th scope="col" { "what" } }
                }
                tbody {
                    @for (row, event) in story.events.iter().enumerate() {
                        tr id={ "r" (number) "-" (row) } class=[event.torn.then_some("torn")] {
                            td class="time" { (instant(event.at.time_ns)) }
                            td class="who" { (event.who) }
                            td {
                                @if event.torn { b class="badge" { "torn" } " " }
                                span class="what" { (event.what) }
                                @if !event.details.is_empty() {
                                    span class="more" { (event.details.join("; ")) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
