//! `deploy/ci-replay.yml`, the ready job for users' CI: its steps are taken out of the file and run, with our own
//! recordings as theirs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::goldens::folder;

/// A step of the job that runs a script.
#[derive(Default, Debug)]
struct Step {
    name: String,
    /// When it runs; always, if empty, unless a step before it failed.
    condition: String,
    script: String,
}

/// The steps with scripts, in order. It reads the little of YAML that the file consists of.
fn steps(text: &str) -> Vec<Step> {
    let (_, text) = text.split_once("\n    steps:\n").expect("steps");
    let mut steps: Vec<Step> = Vec::new();
    let mut in_script = false;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let script = line.strip_prefix("          ").filter(|_| in_script);
        if let (Some(line), Some(step)) = (script, steps.last_mut()) {
            step.script += &format!("{line}\n");
            continue;
        }
        in_script = line == "        run: |";
        if let Some(name) = line.strip_prefix("      - name: ") {
            steps.push(Step { name: name.to_owned(), ..Step::default() });
        } else if let (Some(condition), Some(step)) = (line.strip_prefix("        if: "), steps.last_mut()) {
            step.condition = condition.to_owned();
        }
    }
    steps.retain(|step| !step.script.is_empty());
    steps
}

/// The variables that the file sets for all steps.
fn variables(text: &str) -> BTreeMap<&str, &str> {
    let (_, text) = text.split_once("\nenv:\n").expect("variables");
    let lines = text.lines().take_while(|line| !line.is_empty());
    let lines = lines.filter_map(|line| line.trim().split_once(": ")).filter(|(name, _)| !name.starts_with('#'));
    lines.map(|(name, value)| (name, value.trim_matches('"'))).collect()
}

/// A runner's machine: a checked-out repository with recordings, and rgsd where the job keeps it.
struct Machine {
    place: TempDir,
    text: String,
}

/// How a job went.
struct Ran {
    /// The step that failed, if one did.
    failed: Option<String>,
    /// The names of all that ran.
    steps: Vec<String>,
    said: String,
}

impl Machine {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("a temporary directory");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/ci-replay.yml");
        let text = fs::read_to_string(file).expect("text");
        let machine = Self { place, text };
        let bin = machine.path("home/rgsd/bin");
        for folder in [&bin, &machine.path("workspace"), &machine.path("runner")] {
            fs::create_dir_all(folder).expect("a directory");
        }
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rgsd"), bin.join("rgsd")).expect("a link");
        copy(&folder(), &machine.path("workspace").join(variables(&machine.text)["RECORDINGS"]));
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// A file among the recordings.
    fn recorded(&self, name: &str) -> PathBuf {
        self.path("workspace/recordings").join(name)
    }

    /// The same with a single recording.
    fn with(story: &str) -> Self {
        let machine = Self::new();
        fs::remove_dir_all(machine.recorded("")).expect("removed");
        copy(&folder().join(story), &machine.recorded(story));
        machine
    }

    /// Runs the job as a runner does whose cache has rgsd.
    fn run(&self) -> Ran {
        let mut ran = Ran { failed: None, steps: Vec::new(), said: String::new() };
        for step in steps(&self.text) {
            let runs = match step.condition.as_str() {
                "" => ran.failed.is_none(),
                "failure()" => ran.failed.is_some(),
                "steps.rgsd.outputs.cache-hit != 'true'" => false,
                other => panic!("step {:?} runs on a condition that this test does not know: {other}", step.name),
            };
            if !runs {
                continue;
            }
            let output = self.bash(&step.script);
            ran.said += &String::from_utf8_lossy(&[output.stdout, output.stderr].concat());
            if !output.status.success() && ran.failed.is_none() {
                ran.failed = Some(step.name.clone());
            }
            ran.steps.push(step.name);
        }
        ran
    }

    /// Runs a script as `shell: bash` does, with the path that earlier steps have added to.
    fn bash(&self, script: &str) -> Output {
        let added = fs::read_to_string(self.path("path")).unwrap_or_default();
        let path = added.lines().chain(["/usr/local/bin", "/usr/bin", "/bin"]).collect::<Vec<_>>().join(":");
        let mut bash = Command::new("bash");
        bash.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", script]).env_clear();
        bash.current_dir(self.path("workspace")).envs(variables(&self.text)).env("PATH", path);
        bash.env("HOME", self.path("home")).env("GITHUB_PATH", self.path("path"));
        bash.env("RUNNER_TEMP", self.path("runner")).env("GITHUB_WORKSPACE", self.path("workspace"));
        bash.output().expect("bash")
    }
}

/// Copies what belongs to a replay: that writes no deltas, so our goldens of them are not the job's.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    let is_delta = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("delta-");
    let entries = fs::read_dir(from).expect("a directory").map(|entry| entry.expect("an entry"));
    for entry in entries.filter(|entry| !is_delta(entry)) {
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

/// The paths of the snapshots that lie below a folder, relative to it.
fn goldens(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a directory").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "bin") {
                found.push(entry.strip_prefix(folder).expect("below it").to_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_job_passes_where_every_golden_is_met() {
    let machine = Machine::new();
    let ran = machine.run();
    assert_eq!(ran.failed, None, "{}", ran.said);
    assert_eq!(ran.steps, ["Find rgsd", "Replay", "Compare"]);
    assert_eq!(goldens(&machine.path("runner/snapshots")), goldens(&machine.recorded("")));
}

#[test]
fn the_job_fails_where_one_byte_is_another_and_keeps_what_was_made() {
    let machine = Machine::with("fees");
    let file = goldens(&machine.recorded("fees")).pop().expect("a golden");
    let golden = machine.recorded("fees").join(&file);
    let right = fs::read(&golden).expect("a golden");
    let mut wrong = right.clone();
    *wrong.last_mut().expect("a byte") ^= 1;
    fs::write(&golden, &wrong).expect("written");
    let ran = machine.run();
    assert_eq!(ran.failed.as_deref(), Some("Compare"), "{}", ran.said);
    assert_eq!(ran.steps, ["Find rgsd", "Replay", "Compare", "Show what differs"]);
    let name = Path::new("fees").join(file);
    assert!(ran.said.contains(&format!("== {}\n", name.display())), "{}", ran.said);
    assert_eq!(fs::read(machine.path("runner/snapshots").join(name)).expect("kept"), right);
}

#[test]
fn the_job_fails_where_a_golden_is_missing_or_none_replays() {
    let machine = Machine::with("heard");
    fs::remove_dir_all(machine.recorded("heard/golden")).expect("removed");
    let ran = machine.run();
    assert_eq!(ran.failed.as_deref(), Some("Compare"), "{}", ran.said);
    assert!(ran.said.contains("heard/golden"), "{}", ran.said);

    let machine = Machine::with("closed");
    fs::write(machine.recorded("closed/recording.gossip_store"), b"nonsense").expect("written");
    let ran = machine.run();
    assert_eq!(ran.failed.as_deref(), Some("Replay"), "{}", ran.said);

    let machine = Machine::with("heard");
    fs::remove_dir_all(machine.recorded("heard")).expect("removed");
    let ran = machine.run();
    assert_eq!(ran.failed.as_deref(), Some("Replay"), "{}", ran.said);
    assert!(ran.said.contains("there is no replay.args below recordings"), "{}", ran.said);
}

#[test]
fn every_script_of_the_job_is_known_here() {
    let machine = Machine::new();
    let names: Vec<String> = steps(&machine.text).into_iter().map(|step| step.name).collect();
    assert_eq!(names, ["Build rgsd", "Find rgsd", "Replay", "Compare", "Show what differs"]);
    assert_eq!(machine.text.matches("        run: |").count(), names.len());
    let used: Vec<&str> = variables(&machine.text).into_keys().collect();
    assert_eq!(used, ["RECORDINGS", "RGSD_REPOSITORY", "RGSD_REVISION"]);
}
