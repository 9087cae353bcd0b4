//! Other adapters that are measured at the same time: the parent knows how far they
//! are.

use std::io;
use std::rc::Rc;
use std::sync::mpsc::TryRecvError;

use super::{Parent, not_a_request};
use crate::measure::{Others, Stopped};
use crate::session::protocol::{Event, Request};

/// What the parent says of the others.
pub(super) struct BesideOthers {
    parent: Rc<Parent>,
    /// Whether it knows that this adapter is through.
    told: bool,
}

impl BesideOthers {
    pub(super) fn new(parent: Rc<Parent>) -> Self {
        Self {
            parent,
            told: false,
        }
    }

    fn tell(&self, event: &Event) -> Result<(), Stopped> {
        let told = self.parent.say(event);
        told.map_err(Stopped::misled)
    }
}

impl Others for BesideOthers {
    fn wait(&mut self) -> Result<bool, Stopped> {
        self.tell(&Event::Ready)?;
        match self.parent.requests.recv() {
            Ok(Ok(Request::Begin)) => Ok(true),
            Ok(request) => Err(unexpected(request)),
            Err(_) => Err(ended()),
        }
    }

    fn still_measure(&mut self) -> Result<bool, Stopped> {
        if !self.told {
            self.tell(&Event::Measured)?;
            self.told = true;
        }
        match self.parent.requests.try_recv() {
            Err(TryRecvError::Empty) => Ok(true),
            Ok(Ok(Request::Finish)) => Ok(false),
            Ok(request) => Err(unexpected(request)),
            Err(TryRecvError::Disconnected) => Err(ended()),
        }
    }
}

fn unexpected(request: Result<Request, serde_json::Error>) -> Stopped {
    Stopped::misled(match request {
        Ok(request) => format!("{request:?} while a case is measured beside others"),
        Err(error) => not_a_request(&error),
    })
}

fn ended() -> Stopped {
    Stopped::misled(io::Error::from(io::ErrorKind::UnexpectedEof))
}
