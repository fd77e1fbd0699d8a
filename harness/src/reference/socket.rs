//! One connection: what was sent by it, what was lent, and what has happened to it.

use super::Step;
use super::bytes::{CallId, Stretch};
use super::connection::Connection;
use super::file::Content;
use super::limits::Asked;
use super::loans::Loans;
use super::messages::{Ends, Messages};
use super::network;
use super::packets::Packets;
use super::wire::Wire;
use crate::history::{Chunk, Completion, End, History};
use crate::scenario::{Actor, Op, Range, Scenario};

/// What the other end has seen of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    pub chunks: &'a [Chunk],
    pub received: &'a [u8],
    pub completions: &'a [Completion],
    pub end: End,
    pub end_ns: u64,
}

impl<'a> Seen<'a> {
    /// What was seen of the connection of an actor.
    pub fn of(history: &'a History, actor: Actor) -> Seen<'a> {
        if actor == Actor::A {
            return Seen {
                chunks: &history.chunks,
                received: &history.received,
                completions: &history.completions,
                end: history.end,
                end_ns: history.end_ns,
            };
        }
        match history.beside.iter().find(|it| it.actor == actor) {
            Some(stream) => Seen {
                chunks: &stream.chunks,
                received: &stream.received,
                completions: &stream.completions,
                end: stream.end,
                end_ns: stream.end_ns,
            },
            // Nobody has looked: nothing has arrived.
            None => Seen {
                chunks: &[],
                received: &[],
                completions: &[],
                end: End::Eof,
                end_ns: history.end_ns,
            },
        }
    }

    /// The bytes of one recv(2).
    pub fn bytes(&self, chunk: &Chunk) -> &'a [u8] {
        let bytes = self.received.get(chunk.start..);
        bytes.and_then(|it| it.get(..chunk.len)).unwrap_or_default()
    }
}

/// What was sent, as what arrives keeps it.
#[derive(Debug)]
enum Traffic {
    /// All of it, in order.
    Stream(Wire),
    /// The same, and its boundaries.
    Packets(Wire, Packets),
    /// Each by itself.
    Messages(Messages),
    /// On a network that changes it.
    Anything(Messages),
}

#[derive(Debug)]
pub struct Socket {
    pub connection: Connection,
    pub loans: Loans,
    traffic: Traffic,
}

impl Socket {
    pub fn new(scenario: &Scenario) -> Socket {
        let family = scenario.setup.socket.family;
        Socket {
            connection: Connection::default(),
            loans: Loans::new(family),
            traffic: match (family.has_datagrams(), family.has_records()) {
                (true, _) if network::alters(scenario) => Traffic::Anything(Messages::default()),
                (true, _) => Traffic::Messages(Messages::default()),
                (_, true) => Traffic::Packets(Wire::default(), Packets::default()),
                _ => Traffic::Stream(Wire::default()),
            },
        }
    }

    /// A call puts bytes into it.
    pub fn send(
        &mut self,
        actor: Actor,
        call: CallId,
        op: Op,
        bytes: Vec<Stretch>,
        content: &Content,
    ) {
        match &mut self.traffic {
            Traffic::Stream(wire) => wire.send(actor, call, bytes),
            Traffic::Packets(wire, packets) => {
                packets.send(&bytes, matches!(op, Op::Copy { .. }), content);
                wire.send(actor, call, bytes);
            }
            Traffic::Messages(messages) | Traffic::Anything(messages) => {
                messages.send(call, bytes);
            }
        }
    }

    /// Of what a sender has sent last so much need not come: its call never returned.
    pub fn give_up(&mut self, actor: Actor, bytes: u64) {
        match &mut self.traffic {
            Traffic::Stream(wire) => wire.give_up(actor, bytes),
            Traffic::Packets(wire, packets) => {
                packets.give_up();
                wire.give_up(actor, bytes);
            }
            Traffic::Messages(messages) | Traffic::Anything(messages) => messages.give_up(),
        }
    }

    /// The call of a sender has returned, and `ends` a datagram, or has met an error.
    pub fn leave(&mut self, actor: Actor, call: CallId, ends: Ends, short: bool) {
        match &mut self.traffic {
            Traffic::Stream(wire) | Traffic::Packets(wire, _) => wire.leave(actor),
            Traffic::Messages(messages) | Traffic::Anything(messages) => {
                messages.leave(call, ends, short);
            }
        }
    }

    pub fn show(&mut self, generation: u8, written: Range) {
        match &mut self.traffic {
            Traffic::Stream(wire) | Traffic::Packets(wire, _) => wire.show(generation, written),
            Traffic::Messages(messages) | Traffic::Anything(messages) => {
                messages.show(generation, written);
            }
        }
    }

    pub fn settle(&mut self, call: CallId) {
        match &mut self.traffic {
            Traffic::Stream(wire) | Traffic::Packets(wire, _) => wire.settle(call),
            Traffic::Messages(messages) | Traffic::Anything(messages) => messages.settle(call),
        }
    }

    /// What waits in it for more.
    pub fn waiting(&self) -> Asked {
        match &self.traffic {
            Traffic::Messages(messages) | Traffic::Anything(messages) => messages.waiting(),
            Traffic::Stream(_) | Traffic::Packets(..) => Asked::default(),
        }
    }

    /// One recv(2) has brought something.
    pub fn arrive(&mut self, seen: Seen<'_>, chunk: &Chunk, content: &Content) -> Step {
        let is = |generation, offset, byte| content.is(generation, offset, byte);
        let bytes = seen.bytes(chunk);
        let (begin, end) = (chunk.start, chunk.start + chunk.len);
        let at = |at: usize| Err((None, format!("stream byte {} cannot be that", begin + at)));
        match &mut self.traffic {
            Traffic::Stream(wire) => wire.arrive(bytes, is).or_else(at),
            Traffic::Packets(wire, packets) => {
                wire.arrive(bytes, is).or_else(at)?;
                match packets.may_be_one(begin as u64, end as u64) {
                    true => Ok(()),
                    false => Err((None, format!("bytes {begin} to {end} are no message"))),
                }
            }
            Traffic::Messages(messages) => messages.arrive(bytes, is).map_err(|()| {
                let len = bytes.len();
                (
                    None,
                    format!("a datagram of {len} bytes is none that was sent"),
                )
            }),
            Traffic::Anything(_) => Ok(()),
        }
    }

    /// All is over. Whether it is certain.
    pub fn end(&self, scenario: &Scenario, seen: Seen<'_>) -> Step<bool> {
        let eof = seen.end == End::Eof;
        match seen.end {
            End::Closed if !self.connection.reader_left() => {
                return Err((None, "the receiver left of its own accord".into()));
            }
            End::Failed(errno) if !self.connection.may_break(scenario, seen.end_ns) => {
                return Err((None, format!("receiving failed with errno {errno}")));
            }
            _ => {}
        }
        let certain = match &self.traffic {
            Traffic::Stream(wire) | Traffic::Packets(wire, _) => {
                // What was sent and not received by the end of the stream is lost.
                if eof && !wire.may_be_over() {
                    return Err((None, "something is missing at the end of the stream".into()));
                }
                !wire.is_lost()
            }
            Traffic::Messages(messages) => match messages.end(scenario, eof) {
                Ok(()) => true,
                Err(Some(at)) => {
                    return Err((None, format!("datagram {} cannot come then", at + 1)));
                }
                Err(None) => return Err((None, "a datagram is missing in the end".into())),
            },
            Traffic::Anything(_) => true,
        };
        if eof && !self.connection.closed() {
            self.loans.end()?;
        }
        Ok(certain)
    }
}
