//! The journal of consensus, in CometBFT's record format.
