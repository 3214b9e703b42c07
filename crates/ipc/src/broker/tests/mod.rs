//! The rules against a model ([`model`]), the words ([`words`]), and both with real sockets ([`channel`]).

mod channel;
mod model;
mod words;
