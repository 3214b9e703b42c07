//! Streams that Node wrote, streams cut anywhere, streams of a peer that breaks every rule.

mod endpoint;
mod golden;
mod outbox;
mod splits;
mod trouble;

use super::{Frames, Refused};

/// What came out, in one comparable form.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Out {
    Frame { body: Vec<u8>, handle: Option<u32> },
    Refused(Refused),
}

fn drain(frames: &mut Frames<u32>, into: &mut Vec<Out>) {
    while let Some(one) = frames.next_frame() {
        into.push(match one {
            Ok(frame) => Out::Frame { body: frame.body, handle: frame.handle },
            Err(refused) => Out::Refused(refused),
        });
    }
}
