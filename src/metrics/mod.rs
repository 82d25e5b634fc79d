//! Every metric, under CometBFT's names.
