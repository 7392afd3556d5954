//! What may pass is tried again, after a pause that grows; how often is said and bounded.

use super::{go_on, is_ending};
use anyhow::{Error, Result};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};

const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Whatever a server asks for: who waits longer should be asked by a person.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A failure that may be none the next time.
#[derive(Debug)]
pub struct Passing {
    pub why: String,
    /// When the server wants to be asked again.
    pub after: Option<Duration>,
}

impl std::error::Error for Passing {}

impl std::fmt::Display for Passing {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl Passing {
    pub fn error(why: String) -> Error {
        Passing { why, after: None }.into()
    }
}

/// Counts the tries at one thing.
pub struct Tries {
    done: u32,
    most: u32,
}

impl Tries {
    pub fn new(most: u32) -> Tries {
        Tries { done: 0, most }
    }

    /// It came further than before: the next failure is a first one again.
    pub fn forget(&mut self) {
        self.done = 0;
    }

    /// Waits until it is time to try again, or returns the error when it is not to be.
    pub fn after(&mut self, error: Error, tell: &dyn Fn(&str)) -> Result<()> {
        let Some(passing) = error.downcast_ref::<Passing>().filter(|_| !is_ending()) else {
            return Err(error);
        };
        if self.done >= self.most {
            return Err(match self.most {
                0 => error,
                most => error.context(format!("tried {} times", most + 1)),
            });
        }
        self.done += 1;
        let pause = passing.after.unwrap_or(FIRST_PAUSE * 2_u32.pow(self.done.min(7) - 1)).min(LONGEST_PAUSE);
        let (done, most, seconds) = (self.done, self.most, pause.as_secs_f32());
        tell(&format!("{error:#}: trying again in {seconds:.1} s ({done} of {most})"));
        let until = Instant::now() + pause;
        while Instant::now() < until {
            go_on()?;
            sleep(Duration::from_millis(20).min(pause));
        }
        Ok(())
    }
}
