//! Bits that the link has flipped.

use super::*;

/// Two flipped bits of the datagram of [`two_sends`] that has room for two packets.
fn flipped(bits: [(usize, u8); 2]) -> Plan {
    let mut plan = udp(8192);
    plan.call(Op::Sendfile(range(0, 4000)), 1, 2);
    plan.receive(10, range(0, 4000), 0);
    for (at, bit) in bits {
        plan.history.received[at] ^= bit;
    }
    plan.scenario.setup.data.corrupt_ppm = 1;
    plan
}

#[test]
fn flips_that_undo_each_other_are_the_links() {
    let byte = |at: u64| pattern(at, 0);
    // One that was set and one that was not, both of the same weight.
    let (set, clear) = (100..200)
        .step_by(2)
        .flat_map(|one| (3000..3100).step_by(2).map(move |other| (one, other)))
        .find(|&(one, other)| byte(one) & 1 == 1 && byte(other) & 1 == 0)
        .unwrap();
    let [set, clear] = [set, clear].map(|at| at as usize);
    holds(&flipped([(set, 1), (clear, 1)]));
    // On a link that flips nothing, they are somebody else's.
    let mut plan = flipped([(set, 1), (clear, 1)]);
    plan.scenario.setup.data.corrupt_ppm = 0;
    says(&plan, Property::Datagrams, "is none that was sent");
    // Neither undoes the other.
    for bits in [[(set, 1), (clear, 2)], [(set, 1), (clear + 1, 1)]] {
        says(&flipped(bits), Property::Datagrams, "is none that was sent");
    }
    // A packet has one flipped bit.
    let mut plan = flipped([(set, 1), (clear, 1)]);
    plan.scenario.setup.device.mtu_bytes = Some(9000);
    says(&plan, Property::Datagrams, "is none that was sent");
}

#[test]
fn a_flip_that_undoes_a_write_is_the_links() {
    let torn = |corrupt_ppm: u32| {
        let mut plan = udp(4096);
        plan.call(Op::Sendfile(range(0, 1000)), 1, 2);
        plan.call(Op::MmapWrite(range(0, 2)), 3, 4);
        plan.receive(10, range(0, 1000), 0);
        plan.history.received[0] = pattern(0, 1);
        plan.history.received[500] ^= 1;
        plan.scenario.setup.data.corrupt_ppm = corrupt_ppm;
        plan
    };
    // The write shows, and that is what there is to say about it.
    let plan = torn(1);
    let properties: Vec<Property> = plan.violations().iter().map(|it| it.property).collect();
    assert_eq!(properties, [Property::StableOnReturn]);
    says(&torn(0), Property::Datagrams, "is none that was sent");
}
