//! The rules against a model ([`model`]), the words ([`words`]), and both with real sockets ([`channel`]) and over a link of somebody else ([`guest`]).

mod channel;
mod guest;
mod model;
mod words;
