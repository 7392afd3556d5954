//! `rubber pull`: an image from a registry.

use crate::{
    image::{
        Store, builtin,
        manifest::Platform,
        name::Name,
        pull::{self, Pulled},
        registry::{Options, Tls, end_soon},
        threads,
    },
    show::bars::Bars,
};
use anyhow::{Context, Result, ensure};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, raise, sigprocmask};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// Get images from a registry
///
/// Logins are those of docker login and podman login; CAs those of the system, or SSL_CERT_FILE's; HTTPS_PROXY,
/// HTTP_PROXY and NO_PROXY are heeded. What was interrupted goes on where it broke off.
#[derive(clap::Args)]
pub struct Pull {
    /// [HOST[:PORT]/]NAME[:TAG|@DIGEST]; without HOST it is docker.io
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Get the one made for another machine, as in linux/arm64 or linux/arm/v7
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// Believe any certificate, or plain http, with --tls-verify=false
    #[arg(long, value_name = "true|false", default_value_t = true, action = clap::ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls_verify: bool,
    /// File with logins [default: podman's and docker's own]
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Try again so often when a server is busy, silent, or breaks off
    #[arg(long, value_name = "TIMES", default_value_t = 4)]
    retry: u32,
    /// Seconds a server may be silent
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// No progress, and nothing printed but the image's id
    #[arg(short, long)]
    quiet: bool,
}

impl Pull {
    pub fn main(self, store: &Store) -> Result<()> {
        let names = self.names.iter().map(|name| Name::parse(name)).collect::<Result<Vec<_>>>()?;
        let platform = self.platform.as_deref().map_or(Ok(Platform::here()), Platform::parse)?;
        let options = Options {
            tls: if self.tls_verify { Tls::Verified } else { Tls::Unverified },
            authfile: self.authfile.clone(),
            timeout: Duration::from_secs(self.timeout),
            retry: self.retry,
        };
        let bars = Arc::new(if self.quiet { Bars::silent() } else { Bars::new() });
        let interrupted = heed_signals(bars.clone())?;
        for name in &names {
            ensure!(
                name.as_str() != builtin::NAME,
                "{name} is the image that rubber makes of itself: it is here"
            );
            let pulled = pull::pull(store, name, &platform, &options, &bars);
            bars.clear();
            if let Some(signal) = *interrupted.lock().unwrap_or_else(PoisonError::into_inner) {
                end_by(signal)?;
            }
            self.report(store, name, pulled.with_context(|| format!("cannot pull {name}"))?)?;
        }
        Ok(())
    }

    fn report(&self, store: &Store, name: &Name, pulled: Pulled) -> Result<()> {
        if self.quiet {
            return super::line(&store.id(name)?);
        }
        super::import::tell(&pulled.left_out);
        super::import::report(store, name, pulled.config)
    }
}

/// From now on Ctrl-C and the like make all of it stop where it can be gone on with: whoever waits for a server sees to
/// it after each read. What takes longer than that is ended here.
fn heed_signals(bars: Arc<Bars>) -> Result<Arc<Mutex<Option<Signal>>>> {
    let mut heeded = SigSet::empty();
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().for_each(|signal| heeded.add(signal));
    // Before any thread is made, which would be sent them, too.
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&heeded), None)?;
    let came = Arc::new(Mutex::new(None));
    let told = came.clone();
    let heed = move || {
        let Ok(signal) = heeded.wait() else { return };
        *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(signal);
        end_soon();
        // A server may be waited for, but not what is half unpacked.
        let mut patience = Duration::from_secs(2);
        while !patience.is_zero() || bars.is_unpacking() {
            thread::sleep(Duration::from_millis(100));
            patience = patience.saturating_sub(Duration::from_millis(100));
        }
        bars.clear();
        let _ = end_by(signal);
    };
    threads::alone("heed signals", heed)?;
    Ok(came)
}

/// As the signal would have ended us, so that a shell knows.
fn end_by(signal: Signal) -> Result<()> {
    crate::narrate::warn(format_args!(
        "interrupted: what has come is kept, and the same command goes on from there"
    ));
    raise(signal)?;
    Ok(sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&signal.into()), None)?)
}
