//! One read, or as many writes as fit: what [`Frames`] and [`Outbox`] need of a socket. Neither ever waits.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use ganger_sys::frame::MAX_FDS;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::{Frames, Outbox};

/// Takes one read's worth into `frames`: how many bytes, and whether the socket had no more. No bytes are the end of the stream; a reset
/// connection is one too.
///
/// # Errors
/// `WouldBlock` when nothing is there; the socket's own error.
pub fn receive(socket: impl AsFd, frames: &mut Frames<OwnedFd>) -> io::Result<(usize, bool)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let room = frames.room();
    let buf = frames.space();
    let old = buf.len();
    buf.resize(old + room, 0);
    let result = loop {
        let into = &mut [io::IoSliceMut::new(&mut buf[old..])];
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        match recvmsg(&socket, into, &mut control, flags) {
            Err(Errno::INTR) => {}
            other => break other,
        }
    };
    let got = result.as_ref().map_or(0, |message| message.bytes);
    buf.truncate(old + got);
    let message = match result {
        Ok(message) => message,
        Err(Errno::CONNRESET) => return Ok((0, false)),
        Err(other) => return Err(other.into()),
    };
    let parts = control.drain().filter_map(|part| match part {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    // A read ends behind what carried descriptors, full or not.
    let mut handles = false;
    frames.arrived(parts.flatten().inspect(|_| handles = true));
    frames.took(got);
    if message.flags.contains(ReturnFlags::CTRUNC) {
        frames.lost_handles();
    }
    Ok((got, got > 0 && got < room && !handles))
}

/// Writes until nothing is left (true) or the socket is full (false). A peer that is gone gives EPIPE; no signal is raised.
///
/// # Errors
/// The socket's own error.
pub fn send<D: AsFd>(socket: impl AsFd, outbox: &mut Outbox<D>) -> io::Result<bool> {
    while let Some((bytes, handle)) = outbox.front() {
        let fds = handle.map(AsFd::as_fd);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if let Some(fd) = &fds {
            let fits = control.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(fd)));
            debug_assert!(fits, "the space is sized for one");
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match sendmsg(&socket, &[io::IoSlice::new(bytes)], &mut control, flags) {
            Ok(sent) => outbox.wrote(sent),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(false),
            Err(other) => return Err(other.into()),
        }
    }
    Ok(true)
}
