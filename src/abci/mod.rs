//! Applications: the public trait, the socket client and server, the built-in ones.
