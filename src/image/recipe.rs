//! Recipes: scripts in images/ that print the tar of a root filesystem, carried inside the binary.

use super::{
    import::{self, Origin},
    name::Name,
    store::Store,
};
use crate::sys;
use anyhow::{Context, Result, bail};
use oci_spec::image::ImageConfiguration;
use std::{
    fs::{self, File},
    io::{Read, Seek},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

pub struct Recipe {
    pub name: &'static str,
    /// Takes about a second and nothing from the network, so `run` may do it unasked.
    pub quick: bool,
    /// What a registry calls so is much the same.
    pub is_elsewhere: bool,
    script: &'static str,
}

pub const RECIPES: &[Recipe] = &[
    Recipe {
        name: "borrowed",
        quick: true,
        is_elsewhere: false,
        script: include_str!("../../images/borrowed"),
    },
    Recipe { name: "busybox", quick: true, is_elsewhere: true, script: include_str!("../../images/busybox") },
    Recipe { name: "debian", quick: false, is_elsewhere: true, script: include_str!("../../images/debian") },
    Recipe {
        name: "workshop",
        quick: true,
        is_elsewhere: false,
        script: include_str!("../../images/workshop"),
    },
];

pub fn find(name: &str) -> Option<&'static Recipe> {
    RECIPES.iter().find(|recipe| recipe.name == name)
}

impl Recipe {
    /// The commands that the script's `# needs:` lines name, in that order.
    fn needs(&self) -> impl Iterator<Item = &'static str> {
        let lines = self.script.lines().filter_map(|line| line.strip_prefix("# needs: "));
        lines.flat_map(str::split_whitespace)
    }
}

/// The image of this recipe: made now, unless another rubber has made it while we waited for the store.
pub fn make(store: &Store, recipe: &'static Recipe) -> Result<ImageConfiguration> {
    let name = Name::parse(recipe.name)?;
    let found = recipe.needs().map(|command| in_path(command).ok_or(command)).collect::<Result<Vec<_>, _>>();
    let locked = store.lock()?;
    if let Some(config) = store.image(&name)? {
        return Ok(config);
    }
    let found = match found {
        Ok(found) => found,
        Err(missing) => bail!(
            "no image \"{name}\", and it cannot be made here: no {missing} in PATH; {}",
            how_to_get(missing)
        ),
    };
    let from = found.first().map_or(Path::new("a script"), PathBuf::as_path);
    crate::narrate::warn(format_args!("no image \"{name}\" yet: making it from {}", from.display()));
    let scratch = locked.scratch()?;
    let mut script = Script::start(recipe, scratch.path()).map_err(|error| store.explain(error))?;
    let tar = script.output.take().context("the recipe has no output")?;
    let origin = Origin::new(format!("rubber import --recipe {name}"));
    let imported = import::archive(&locked, &name, tar, origin);
    // A script that failed is why its archive was cut off; but not when we had to stop reading it.
    match script.end() {
        Err(error) if imported.is_ok() || !error.stopped => {
            if imported.is_ok() {
                locked.remove_image(&name)?;
            }
            bail!("no image \"{name}\", and it cannot be made here: {}", error.said)
        }
        _ => Ok(imported.with_context(|| format!("cannot make image {name}"))?.config),
    }
}

/// A recipe at work.
struct Script {
    child: std::process::Child,
    output: Option<std::process::ChildStdout>,
    errors: File,
}

struct Failed {
    /// It ended because nobody was reading any more.
    stopped: bool,
    said: String,
}

impl Script {
    /// All recipes lie in `directory`, because one may build on another; so do their temporary files.
    fn start(recipe: &Recipe, directory: &Path) -> Result<Script> {
        for other in RECIPES {
            fs::write(directory.join(other.name), other.script)?;
        }
        // Not in the store: that may be full, and then this is where it says so.
        let errors = tempfile::tempfile().or_else(|_| tempfile::tempfile_in(directory))?;
        let mut command = Command::new("sh");
        command.arg(directory.join(recipe.name)).env("TMPDIR", directory).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        // The slow ones are asked for by name and should be seen working.
        command.stderr(if recipe.quick { Stdio::from(errors.try_clone()?) } else { Stdio::inherit() });
        let mut child = sys::started(command.spawn()).context("cannot start sh")?;
        let output = child.stdout.take();
        Ok(Script { child, output, errors })
    }

    /// Waits for it: its trap must have cleaned up before its directory goes.
    fn end(mut self) -> Result<(), Failed> {
        use std::os::unix::process::ExitStatusExt;
        let status = match self.child.wait() {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => status,
            Err(error) => return Err(Failed { stopped: false, said: error.to_string() }),
        };
        let mut text = String::new();
        let _ = self.errors.rewind().and_then(|()| self.errors.take(1 << 16).read_to_string(&mut text));
        let stopped = status.signal() == Some(libc::SIGPIPE) || status.code() == Some(128 + libc::SIGPIPE);
        let last = text.lines().rfind(|line| !line.trim().is_empty());
        Err(Failed { stopped, said: last.map_or(format!("its recipe ended with {status}"), str::to_owned) })
    }
}

fn how_to_get(command: &str) -> String {
    match command {
        "busybox" => "apt-get install busybox-static".to_owned(),
        other => format!("apt-get install {other}"),
    }
}

/// Where a shell would find `command`.
fn in_path(command: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let runs = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&std::env::var_os("PATH")?)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(command))
        .find(runs)
}
