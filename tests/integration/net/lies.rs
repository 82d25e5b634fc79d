//! Peers that serve wrong blocks are dropped, and the honest one is enough.

use super::liar::{Liar, Lie};
use super::link::Wire;
use super::network::{Application, Net};

/// Blocks the victim lacks.
const BLOCKS: u64 = 30;

#[test]
fn liars_in_block_sync_are_dropped_and_the_blocks_come_from_the_honest_peer() {
    let mut net = Net::new(1, 1, Application::BuiltIn);
    let (honest, victim) = (0, 1);
    net.start([honest]);
    net.await_height([honest], BLOCKS);
    // At first the victim has nobody but the liars.
    net.between(&[honest], &[victim], Wire::Cut);
    net.launch(victim);
    net.member(victim).process().wait_for("is not there yet");
    let lie = |lie| Liar::start(&net.chain_id, lie, net.member(honest), net.member(victim));
    for mut liar in [lie(Lie::OtherBlock), lie(Lie::ForgedCommit)] {
        liar.await_loss_of_victim();
    }
    // The height alone does no harm: it may stay, and no block of it is missed.
    let _boaster = lie(Lie::HugeHeight);
    net.between(&[honest], &[victim], Wire::Whole);
    net.await_ready(victim);
    net.await_height([victim], net.member(honest).height() + 2);
    net.assert_same_chain([honest, victim]);
}
