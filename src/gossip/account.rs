//! What was given to a peer and is not written to its socket yet, so that we stop before a slow peer costs memory.

use crate::types::Channel;

/// Proposals and parts on their way to one peer: sixteen parts. Bytes.
pub const DATA_BYTES_MAX: u64 = 1 << 20;
/// Votes on their way to one peer: about a thousand without extensions. Bytes.
pub const VOTE_BYTES_MAX: u64 = 256 << 10;
/// Answers to what a peer asks about votes, on their way to it; more are not answered. Bytes.
pub const VOTE_SET_BITS_BYTES_MAX: u64 = 64 << 10;

/// No proposal, part or vote worth sending is much smaller. Bytes.
const SMALL_BYTES: u64 = 128;

/// Bytes on their way to one peer, by channel.
#[derive(Debug, Default)]
pub(super) struct Account {
    data: u64,
    votes: u64,
    vote_set_bits: u64,
}

impl Account {
    /// Books a message if there is room. An empty account takes one of any size, or a large one would never go.
    pub(super) fn take(&mut self, channel: Channel, bytes: u64) -> bool {
        let Some((given, max)) = self.of(channel) else { return true };
        let room = *given == 0 || mutant!("G6") || given.saturating_add(bytes) <= max;
        if room {
            *given = given.saturating_add(bytes);
        }
        room
    }

    /// True when not even a small message has room, so that none need be made.
    pub(super) fn is_full(&mut self, channel: Channel) -> bool {
        self.of(channel).is_some_and(|(given, max)| *given > 0 && *given + SMALL_BYTES > max)
    }

    /// These bytes reached the socket.
    pub(super) fn written(&mut self, channel: Channel, bytes: u64) {
        if let Some((given, _)) = self.of(channel) {
            *given = given.saturating_sub(bytes);
        }
    }

    /// True when everything given has reached the socket.
    pub(super) fn is_idle(&self) -> bool {
        self.data == 0 && (self.votes == 0 || mutant!("G92"))
    }

    /// The state channel has no account: its messages are few and go at once, and p2p drops a peer that does not read.
    fn of(&mut self, channel: Channel) -> Option<(&mut u64, u64)> {
        match channel {
            Channel::Data => Some((&mut self.data, DATA_BYTES_MAX)),
            Channel::Vote => Some((&mut self.votes, VOTE_BYTES_MAX)),
            Channel::VoteSetBits => Some((&mut self.vote_set_bits, VOTE_SET_BITS_BYTES_MAX)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_fills_up_and_empties_as_bytes_are_written() {
        let mut account = Account::default();
        assert!(account.take(Channel::Vote, VOTE_BYTES_MAX - 1) && !account.is_idle());
        assert!(!account.take(Channel::Vote, 2) && account.take(Channel::Vote, 1));
        assert!(account.take(Channel::Data, 1), "each channel for itself");
        account.written(Channel::Vote, VOTE_BYTES_MAX);
        account.written(Channel::Data, 1);
        assert!(account.is_idle());
        account.written(Channel::Vote, 7);
        assert!(account.take(Channel::Vote, 5 * VOTE_BYTES_MAX), "an empty one takes anything");
        assert!(account.take(Channel::State, u64::MAX) && account.take(Channel::State, 1));
    }
}
