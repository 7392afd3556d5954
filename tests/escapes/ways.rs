//! The ways into a container other than `rubber run`: beside another one, into one that runs, and those of rubber-oci,
//! whose config.json is what `rubber run --dry-run --format oci` writes for the same flags.

use crate::{
    attacks::{ATTACKS, Attack, Company, How},
    bundle::Bundle,
    lab,
    stage::{NO_CGROUP, PREPARE, Stage, if_made, newcomer, told},
};
use serde_json::Value;
use std::{collections::BTreeMap, fs, process::Command};

/// Of what has no name that way.
pub const NOT_ASKED_FOR: &str = "not asked for";

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Way {
    /// `rubber run` into the pid namespace of another container.
    Joined,
    /// `rubber exec`
    Exec,
    /// `rubber-oci create` and `start`; where only one thing is tried, `rubber-oci run`.
    Oci,
    /// `rubber-oci exec`
    OciExec,
}

impl Way {
    pub const ALL: [Way; 4] = [Way::Joined, Way::Exec, Way::Oci, Way::OciExec];

    /// Whether what the attack asks for can be had: a config.json has no init, and into a container with rubber's, which
    /// hides, an ordinary user has no way.
    pub fn knows(self, attack: &Attack) -> bool {
        let wants_init = matches!(attack.with, ["--init", ..]);
        !wants_init || self == Way::Joined || self == Way::Exec && lab::is_root()
    }

    /// Whether it is handed what the attack is after: rubber-oci's streams are those it is called with, as runc's are, and
    /// whoever calls it makes pipes of them.
    pub fn hands_in(self, attack: &Attack) -> bool {
        let is_bundles = matches!(self, Way::Oci | Way::OciExec);
        is_bundles && matches!(attack.how, How::IntoFile | How::FromDirectory)
    }

    /// What a container is made with for all of a company.
    fn flags(self, company: Company) -> Vec<&'static str> {
        let known = ATTACKS.iter().filter(|attack| attack.company() == company && self.knows(attack));
        known.flat_map(|attack| attack.with).copied().collect()
    }
}

/// Containers that stay for as long as there is something to try in them.
struct Standing {
    company: Company,
    rubber: Container,
    /// Its id, for `rubber-oci`.
    oci: String,
    /// What the first process of rubber-oci's has said, before it went to sleep.
    said: String,
}

/// Its id, for `rubber`.
struct Container(String);

impl Drop for Container {
    fn drop(&mut self) {
        let _ = lab::rubber(["rm", "-f", &self.0]).output();
    }
}

pub struct Ways<'stage> {
    stage: &'stage Stage,
    bundle: Bundle,
    attacks: Vec<&'static Attack>,
    standing: Vec<Standing>,
}

impl<'stage> Ways<'stage> {
    pub fn new(stage: &'stage Stage, attacks: Vec<&'static Attack>) -> Ways<'stage> {
        let bundle = Bundle::new().unwrap_or_else(Bundle::rootless);
        let mut ways = Ways { stage, bundle, attacks, standing: Vec::new() };
        for company in Company::SHARED {
            if let Some(standing) = ways.stands(company) {
                ways.standing.push(standing);
            }
        }
        ways
    }

    /// None where its flags ask for what this user cannot have.
    fn stands(&self, company: Company) -> Option<Standing> {
        let flags = [&["-d"][..], &Way::Exec.flags(company)].concat();
        let output = self.stage.inside(&flags, &["sleep", "1000"]).output().unwrap();
        let error = lab::text(&output.stderr);
        if error.starts_with(NO_CGROUP) {
            lab::note(&format!("not tried: {flags:?}: {error}"));
            return None;
        }
        assert!(output.status.success(), "{flags:?}: {error}");
        let rubber = Container(lab::text(&output.stdout).trim().to_owned());
        let oci = format!("{company:?}");
        let script = format!("{}; exec sleep 1000", self.script(Way::Oci, company));
        self.configure(&oci, &Way::Oci.flags(company), &["sh", "-c", &script]);
        let said = self.starts(&oci);
        Some(Standing { company, rubber, oci, said })
    }

    /// By `create` and `start`. What it says until it sleeps; by no pipe, which would be open for as long.
    fn starts(&self, oci: &str) -> String {
        let (file, dir) = (self.bundle.dir.join("said"), self.bundle.dir.to_str().unwrap());
        let said = fs::File::create(&file).unwrap();
        for words in [&["create", "--bundle", dir, oci][..], &["start", oci]] {
            let mut command = self.stage.called(self.bundle.rubber(words));
            let streams = command.stdout(said.try_clone().unwrap()).stderr(said.try_clone().unwrap());
            let ended = streams.status().unwrap();
            assert!(ended.success(), "{words:?}: {}", fs::read_to_string(&file).unwrap());
        }
        let has_ended = || fs::read_to_string(&file).unwrap().contains("= end\n");
        self.bundle.wait_for("the end of what is tried", has_ended);
        fs::read_to_string(&file).unwrap()
    }

    /// Writes config.json.
    fn configure(&self, id: &str, flags: &[&str], words: &[&str]) {
        let dry = [&["--dry-run", "--format", "oci"], flags].concat();
        let output = self.stage.inside(&dry, words).output().unwrap();
        assert!(output.status.success(), "{flags:?}: {output:?}");
        self.bundle.write(&serde_json::from_slice(&output.stdout).unwrap());
        // Below one that goes with the bundle.
        let group = format!("/{}/{id}", self.bundle.group());
        self.bundle.edit(|config| match lab::is_root() {
            true => config["linux"]["cgroupsPath"] = group.into(),
            false => map_own_id(config),
        });
    }

    fn together(&self, way: Way, company: Company) -> impl Iterator<Item = &'static Attack> {
        self.attacks.iter().copied().filter(move |attack| attack.company() == company && way.knows(attack))
    }

    /// All of a company, each behind a line with its number.
    fn script(&self, way: Way, company: Company) -> String {
        let mut script = PREPARE.to_owned();
        for attack in self.together(way, company) {
            let number = ATTACKS.iter().position(|other| other.name == attack.name).unwrap();
            if let Some(words) = self.stage.words_here(attack) {
                // Beside another container pid 1 is that one's: the init of one's own is what the shell was started by.
                let words =
                    if way == Way::Joined { words.replace("/proc/1/", "/proc/$PPID/") } else { words };
                script += &format!("; echo = {number}; /shared/attack {words}");
            }
        }
        script + "; echo = end"
    }

    fn standing(&self, company: Company) -> Option<&Standing> {
        self.standing.iter().find(|standing| standing.company == company)
    }

    fn plain(&self) -> &Standing {
        self.standing(Company::Plain).expect("a container that asks for nothing")
    }

    /// What came of each that can be tried here.
    pub fn try_out(&self, way: Way) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for company in Company::SHARED {
            found.extend(self.try_together(way, company));
        }
        for attack in &self.attacks {
            if !way.knows(attack) {
                found.insert(attack.name.into(), NOT_ASKED_FOR.into());
            } else if attack.company() == Company::Alone {
                found.extend(self.try_alone(way, attack).map(|result| (attack.name.into(), result)));
            }
        }
        found
    }

    fn try_together(&self, way: Way, company: Company) -> Vec<(String, String)> {
        let Some(standing) = self.standing(company) else { return Vec::new() };
        let script = self.script(way, company);
        let flags = if way == Way::Joined { way.flags(company) } else { Vec::new() };
        let said = match way {
            Way::Oci => standing.said.clone(),
            _ => self.stage.says(How::Inside, self.command(way, standing, &flags, &["sh", "-c", &script])),
        };
        assert!(said.contains("= end\n"), "{way:?} {company:?}: {said}");
        let of = |piece: &str| {
            let (number, said) = piece.split_once('\n')?;
            let attack = &ATTACKS[number.parse::<usize>().ok()?];
            Some((attack.name.to_owned(), told(attack, said)))
        };
        format!("\n{said}").split("\n= ").filter_map(of).collect()
    }

    fn try_alone(&self, way: Way, attack: &Attack) -> Option<String> {
        let words = format!("exec /shared/attack {}", self.stage.words_here(attack)?);
        let standing = self.plain();
        if attack.how == How::Newcomers {
            return Some(told(attack, &self.meets(way, standing, &words)));
        }
        let mut flags: Vec<_> = attack.with.iter().map(|flag| renamed(way, flag)).collect();
        if attack.how.reads_stdin() && matches!(way, Way::Joined | Way::Oci) {
            flags.push("-i");
        }
        let words = if attack.how == How::AsCommand { attack.words } else { &["sh", "-c", &words] };
        let said = self.stage.says(attack.how, self.command(way, standing, &flags, words));
        if_made(attack, told(attack, &said))
    }

    /// Told by a process of the container's whose pid namespace the newcomers come into, that way.
    fn meets(&self, way: Way, standing: &Standing, words: &str) -> String {
        let attacker = if way == Way::OciExec { Way::OciExec } else { Way::Exec };
        let attacker = self.command(attacker, standing, &[], &["sh", "-c", words]);
        let beside = format!("container:{}", standing.rubber.0);
        let flags = if way == Way::Oci { &["--pid", &beside][..] } else { &[] };
        self.stage.meets(attacker, self.command(way, standing, flags, &["/shared/attack", &newcomer()]))
    }

    fn command(&self, way: Way, standing: &Standing, flags: &[&str], words: &[&str]) -> Command {
        let beside = format!("container:{}", self.plain().rubber.0);
        let dir = self.bundle.dir.to_str().unwrap();
        let command = match way {
            Way::Joined => return self.stage.inside(&[&["--pid", &beside], flags].concat(), words),
            Way::Exec => lab::rubber([&["exec"], flags, &[&standing.rubber.0], words].concat()),
            Way::Oci => {
                // Its own command line says which one it is, too.
                self.configure("alone", flags, words);
                self.bundle.rubber(&["run", "--bundle", dir, &newcomer()])
            }
            Way::OciExec => self.bundle.rubber(&[&["exec"], flags, &[&standing.oci], words].concat()),
        };
        self.stage.called(command)
    }
}

/// rubber-oci has no newuidmap(1) to ask, and a user who maps ids alone may map their own. No terminal is a group's then.
fn map_own_id(config: &mut Value) {
    for mappings in ["uidMappings", "gidMappings"] {
        // There are none where another's user namespace is joined.
        if let Some(mappings) = config["linux"][mappings].as_array_mut() {
            mappings.truncate(1);
        }
    }
    for mount in config["mounts"].as_array_mut().unwrap() {
        if let Some(options) = mount["options"].as_array_mut() {
            options.retain(|option| option != "gid=5");
        }
    }
}

fn renamed(way: Way, flag: &'static str) -> &'static str {
    match (way, flag) {
        (Way::OciExec, "-w") => "--cwd",
        _ => flag,
    }
}
