//! `rubber learn`: the chapter and its steps, and a check after each save.

use super::{Chapter, Checkout, Progress, check, editor};
use crate::show::columns::{print, wrap};
use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::{io::stdout, os::fd::AsFd, path::Path, thread::sleep, time::Duration, time::SystemTime};

/// Polled, because inotify says nothing of network disks and shared folders.
const PERIOD: Duration = Duration::from_millis(200);

/// Until Ctrl-C. It never moves on by itself.
pub fn watch(checkout: &Checkout) -> Result<u8> {
    let chapters = Chapter::all(checkout)?;
    let chapter =
        Progress::read(checkout).current(&chapters).context("there are no chapters in workshop/")?;
    editor::tell(checkout)?;
    print(&intro(checkout, chapter))?;
    if saved(&chapter.exercise()).is_none() {
        // Says so, and what to do.
        check(checkout, chapter, &Progress::read(checkout))?;
    }
    let mut seen = None;
    loop {
        let now = saved(&chapter.exercise());
        // An editor that saves by renaming leaves a moment without any file.
        if now.is_some() && now != seen {
            seen = now;
            // Read anew: hints may have been asked for in another terminal.
            let mut progress = Progress::read(checkout);
            let (outcome, facts) = check(checkout, chapter, &progress)?;
            progress.record(chapter, &outcome);
            progress.write()?;
            print(&outcome.screen(chapter, progress.hints(chapter)))?;
            if outcome.code() == 0 {
                print(&chapter.untried(&facts).unwrap_or_default())?;
                print(&chapter.whats_next())?;
            }
            print(&format!(
                "\nwaiting for {} to be saved; Ctrl-C ends\n",
                checkout.short(&chapter.exercise())
            ))?;
        }
        if is_left() {
            return Ok(0);
        }
        sleep(PERIOD);
    }
}

/// Nobody reads what is said here any more: the other end of a pipe is closed.
fn is_left() -> bool {
    let out = stdout();
    let mut fds = [PollFd::new(out.as_fd(), PollFlags::empty())];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

fn saved(file: &Path) -> Option<SystemTime> {
    file.metadata().and_then(|about| about.modified()).ok()
}

fn intro(checkout: &Checkout, chapter: &Chapter) -> String {
    let asked = chapter.predict.iter().flat_map(|predict| wrap(&format!("Predict: {}", predict.ask), 76));
    let asked = asked.map(|line| format!("  {line}\n"));
    let about = wrap(&format!("about  {}", chapter.teaches.join(", ")), 76).join("\n         ");
    let steps = chapter.step.iter().map(|step| format!("  {}. {}\n", step.id, step.does));
    format!(
        "{}   {} ({} minutes)\n  {about}\n\n  read   {}\n  write  {}\n\n{}\nIt begins red: each step says \"not yet\" until it is written.\n\n",
        chapter.name(),
        chapter.title,
        chapter.minutes.talk + chapter.minutes.work,
        checkout.short(&chapter.dir.join("README.md")),
        checkout.short(&chapter.exercise()),
        steps.chain(["\n".into()]).chain(asked).collect::<String>(),
    )
}
