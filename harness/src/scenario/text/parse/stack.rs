//! The lines about the interfaces and the stack.

use super::Reader;
use crate::scenario::normalize::Line;
use crate::scenario::text::lex::{Trouble, Words};
use crate::scenario::text::options::{Key, Options};
use crate::scenario::text::units;
use crate::scenario::{Device, DeviceKind, Stack, Sysctl};

impl<'a> Reader<'a> {
    pub fn device(&mut self, kind: DeviceKind, words: &mut Words<'a>) -> Result<Device, Trouble> {
        const KEYS: [Key; 6] = [
            Key::with_value("mtu", "SIZE"),
            Key::flag("gro"),
            Key::flag("no-tso"),
            Key::flag("no-gso"),
            Key::flag("no-sg"),
            Key::flag("no-checksum"),
        ];
        let mut device = Device {
            kind,
            ..Device::default()
        };
        let mut options = Options::new(&KEYS);
        while let Some((key, value)) = options.next(words)? {
            self.places.push((Line::Device, key, value));
            match key {
                "mtu" => device.mtu_bytes = Some(units::narrow(value, units::bytes(value)?)?),
                "gro" => device.gro = true,
                "no-tso" => device.no_tso = true,
                "no-gso" => device.no_gso = true,
                "no-sg" => device.no_sg = true,
                _ => device.no_checksum = true,
            }
        }
        Ok(device)
    }

    pub fn stack(&mut self, words: &mut Words<'a>) -> Result<Stack, Trouble> {
        let key = |sysctl: Sysctl| match sysctl.is_size() {
            true => Key::with_value(sysctl.name(), "SIZE"),
            false => Key::with_value(sysctl.name(), "NUMBER"),
        };
        let keys: Vec<Key> = Sysctl::all().map(key).collect();
        let mut stack = Stack::default();
        let mut options = Options::new(&keys);
        while let Some((key, value)) = options.next(words)? {
            self.places.push((Line::Stack, key, value));
            let Some(sysctl) = Sysctl::all().find(|sysctl| sysctl.name() == key) else {
                continue;
            };
            let number = match sysctl.is_size() {
                true => units::bytes(value)?,
                false => units::number(value)?,
            };
            stack.set(sysctl, Some(units::narrow(value, number)?));
        }
        Ok(stack)
    }
}
