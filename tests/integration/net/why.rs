//! `quorate why` names those whose votes are missing.

use super::network::{Application, Net};

#[test]
fn when_two_of_four_die_both_are_named_and_the_command_fails() {
    let mut net = Net::started(4, Application::BuiltIn);
    net.await_height(0..4, 2);
    let healthy = net.member(0).command(&["why"]);
    assert!(healthy.contains("blocks are coming"), "{healthy}");
    let status = net.member(0).command(&["status"]);
    assert!(status.contains("its proposer is"), "{status}");
    let dead = [2, 3];
    dead.iter().for_each(|node| net.kill(*node));
    // What was on its way when they died may still decide one block, and then no other.
    let stuck = std::iter::repeat_with(|| net.member(0).command(&["why"]))
        .take(4)
        .find(|said| said.contains("error: the chain is stuck"))
        .unwrap();
    for node in dead {
        let named = format!("{} (power", net.member(node).validator);
        assert!(stuck.contains(&named), "{named} in\n{stuck}");
    }
    assert!(!stuck.contains(&format!("{} (power", net.member(1).validator)), "{stuck}");
    assert!(stuck.contains("is missing") && stuck.contains("next: "), "{stuck}");
}
