use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::*;

fn inmate() -> Inmate<'static> {
    Inmate {
        program: Path::new("/bin/sh"),
        cwd: Path::new("/"),
        identity: None,
        hide: &[],
        roots: None,
    }
}

/// What this machine gives to nobody: every layer once taken away is refused under its name with a way out, or told.
#[test]
fn a_missing_layer_refuses_or_is_told() {
    for (name, wall) in Wall::ALL {
        let missing = Missing::from([(wall, "of a test".to_owned())]);
        let mut sandbox = Sandbox::of(ProfileName::Strict);
        // Without root the others need the user namespace: they are to be told then, not refused.
        sandbox.layers = Wall::ALL.iter().map(|(_, other)| (*other, Mode::Prefer)).collect();
        sandbox.layers.insert(wall, Mode::Require);
        let error = sandbox.build(inmate(), &missing).map(drop).unwrap_err().to_string();
        assert!(
            error.contains(&format!("layer `{name}`")) && error.contains("of a test"),
            "{error}"
        );
        assert!(error.contains(modes::fix(wall)), "{error}");
        sandbox.layers.insert(wall, Mode::Prefer);
        let built = sandbox.build(inmate(), &missing).unwrap();
        assert!(!built.standing.contains(&wall));
        let told = built.degraded.iter().find(|one| one.what == format!("layer {name}")).unwrap();
        assert!(!told.fix.is_empty() && told.why == "of a test");
        sandbox.layers.insert(wall, Mode::Off);
        let built = sandbox.build(inmate(), &missing).unwrap();
        assert!(built.degraded.iter().all(|one| one.what != format!("layer {name}")));
    }
}

/// A filter and Landlock's rules are taken only from who can gain nothing: where that is all that fails, they are left out too.
#[test]
fn what_leans_on_no_new_privs_goes_with_it() {
    use ganger_sys::spawn::{SpawnError, Step};
    let mut sandbox = Sandbox::of(ProfileName::Strict);
    sandbox.layers = Wall::ALL.iter().map(|(_, wall)| (*wall, Mode::Prefer)).collect();
    let refused = SpawnError { step: Step::NoNewPrivs, errno: 22, index: 0 };
    let mut missing = Missing::from([(Wall::NoNewPrivs, "of a test".to_owned())]);
    for wanted in [Wall::Seccomp, Wall::Landlock] {
        let built = sandbox.build(inmate(), &missing).unwrap();
        assert!(built.needs_no_new_privs());
        let Blame::Again(wall, why) = sandbox.blame(&built, &refused, &missing) else { panic!() };
        assert_eq!(wall, wanted, "{why}");
        missing.insert(wall, why);
    }
    assert!(!sandbox.build(inmate(), &missing).unwrap().needs_no_new_privs());
}

#[test]
fn profiles_say_what_they_are() {
    assert!(Sandbox::default().is_nothing());
    let required = |profile, wall| Sandbox::of(profile).mode(wall) == Mode::Require;
    assert!(
        Wall::ALL
            .iter()
            .filter(|(_, wall)| *wall != Wall::Cgroup)
            .all(|(_, wall)| required(ProfileName::Strict, *wall))
    );
    let host = Sandbox { net: Some(Net::Host), ..Sandbox::of(ProfileName::Strict) };
    assert_eq!(host.mode(Wall::Net), Mode::Off);
    assert_eq!(Sandbox::of(ProfileName::Standard).mode(Wall::Pid), Mode::Off);
    let text = r#"{"profile":"strict","layers":{"landlock":"prefer"},"net":{"ports":{"connect":[443],"bind":[]}}}"#;
    let sandbox: Sandbox = serde_json::from_str(text).unwrap();
    assert_eq!(sandbox.mode(Wall::Landlock), Mode::Prefer);
    assert_eq!(
        serde_json::from_str::<Sandbox>(&serde_json::to_string(&sandbox).unwrap()).unwrap(),
        sandbox
    );
}

/// The root of "strict": every place is made before it is used, and nothing leads out of it.
#[test]
fn an_empty_root_makes_each_place_first() {
    use ganger_sys::spawn::walls::Entry;
    let sandbox = Sandbox {
        paths: vec![Shown { path: "/usr/lib".into(), beneath: None, access: Access::Read }],
        layers: Wall::ALL.iter().map(|(_, wall)| (*wall, Mode::Prefer)).collect(),
        ..Sandbox::of(ProfileName::Strict)
    };
    let built = sandbox.build(inmate(), &Missing::new()).unwrap();
    let Some(root) = built.walls.root else { return println!("skipped: {:?}", built.degraded) };
    let mut made: BTreeSet<PathBuf> = BTreeSet::from([PathBuf::new()]);
    let mut inside: Vec<PathBuf> = Vec::new();
    for entry in &root.entries {
        let path = |text: &std::ffi::CString| PathBuf::from(text.to_str().unwrap());
        match entry {
            Entry::Folder(at)
            | Entry::Place(at)
            | Entry::Text { at, .. }
            | Entry::Link { at, .. } => {
                let at = path(at);
                assert!(made.contains(at.parent().unwrap()), "{entry:?}");
                made.insert(at);
            }
            Entry::Bind(bind) => {
                let to = path(&bind.to);
                let shown = inside.iter().any(|folder| to.starts_with(folder));
                assert!(to.is_relative() && (shown || made.contains(&to)), "{entry:?}");
                if bind.folder {
                    inside.push(to);
                }
            }
            Entry::Proc(at) | Entry::Shut(at) => assert!(made.contains(&path(at))),
            Entry::Private(private) => {
                for place in &private.places {
                    let at = path(&place.at);
                    assert!(made.contains(at.parent().unwrap()), "{entry:?}");
                    made.insert(at);
                }
            }
        }
    }
    assert!(inside.contains(&PathBuf::from("usr/lib")));
}

#[test]
fn asked_paths_stay_in_their_folder() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().canonicalize().unwrap();
    std::fs::write(base.join("file"), "x").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", base.join("link")).unwrap();
    let asked = |path: &str| {
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("{}/{path}", base.display())
        };
        let beneath = Some(base.display().to_string());
        paths::View::default().show_asked(&Shown { path, beneath, access: Access::Read })
    };
    asked("file").unwrap();
    for wrong in ["link", "../file", "none", "/etc/passwd", "file/../../x"] {
        let error = asked(wrong).unwrap_err();
        assert!(matches!(error, SandboxError::Path { .. }), "{wrong}: {error}");
    }
}
