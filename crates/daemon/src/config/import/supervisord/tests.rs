//! supervisord's grammar, and a file with every key.

use std::collections::BTreeMap;
use std::path::Path;

use super::expand::{Names, When, expand, pairs};
use super::ini;
use crate::config::load_with;

fn names() -> Names {
    let mut names = Names::default();
    names.texts.insert("program_name", "web".into());
    names.numbers.insert("process_num", 7);
    names.env.insert("HOME".into(), "/root".into());
    names.own_env.insert("OWN".into(), "mine".into());
    names
}

#[test]
fn values_expand_as_in_python() {
    let now = |text: &str| expand(text, &names(), When::Now);
    assert_eq!(now("%(program_name)s_%(process_num)02d 100%%").unwrap(), "web_07 100%");
    assert_eq!(now("%(process_num)s|%(process_num)3d|%(ENV_HOME)s").unwrap(), "7|  7|/root");
    assert_eq!(now("%(ENV_OWN)s").unwrap(), "mine");
    assert!(now("%(nothing)s").unwrap_err().contains("`%(nothing)s` is not known"));
    assert!(now("%(ENV_NO)s").unwrap_err().contains("`NO` is not set"));
    assert!(now("50%").unwrap_err().contains("written `%%`"));
    assert!(now("%(process_num)").unwrap_err().contains("needs an `s` or `d`"));
    assert!(now("%(process_num)x").unwrap_err().contains("no format"));
    let later = expand("a%(ENV_HOME)s$%(ENV_HOME)s", &names(), When::AtUp).unwrap();
    assert!(later.ends_with("$/root") && !later.starts_with("a/root"), "{later}");
}

#[test]
fn environments_with_quotes_commas_and_lines() {
    let read = pairs("A=\"1,2\",B='x y' ,\n  C=plain, D=\"\"").unwrap();
    let read: Vec<_> = read.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(read, [("A", "1,2"), ("B", "x y"), ("C", "plain"), ("D", "")]);
    assert!(pairs("").unwrap().is_empty());
    assert!(pairs("A=\"1").unwrap_err().contains("never closed"));
    assert!(pairs("A B=1").unwrap_err().contains("`A B`"));
    assert!(pairs("A").unwrap_err().contains("expected KEY="));
}

#[test]
fn comments_continued_lines_and_doubled_sections() {
    let text = "; top\n[a]\nKey = one ; not this\n   two;this\n\n   three\n# no\nother: x = y\n[b] ; c\nk=\n[a]\nkey=last\n";
    let (sections, wrong) = ini::parse(text);
    assert!(wrong.is_empty());
    assert_eq!(sections.len(), 2);
    assert_eq!(sections[0].entries[0].value, "one\ntwo;this\nthree");
    assert_eq!(sections[0].get("other").unwrap().value, "x = y");
    assert_eq!(sections[0].get("key").unwrap().value, "last");
    assert_eq!(sections[1].get("k").unwrap().value, "");
    let (_, wrong) = ini::parse("lost = 1\n[a]\nnothing\n");
    assert_eq!(wrong, [0..8, 13..20]);
}

fn read(text: &str, env: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("supervisord.conf");
    std::fs::write(&path, text).unwrap();
    let env: BTreeMap<String, String> =
        env.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let said = match load_with(&path, &env) {
        Err(errors) => errors.to_string(),
        Ok(_) => {
            let format = crate::config::Format::Supervisord;
            let foreign = crate::config::foreign(
                format,
                &path,
                text,
                &env,
                &crate::config::Choice::default(),
                &mut vec![],
            );
            foreign.unwrap().toml(dir.path())
        }
    };
    said.replace(&dir.path().display().to_string(), "/app")
}

#[test]
fn a_file_with_every_key() {
    let mut text = String::from("[supervisord]\n");
    for key in super::keys::DAEMON.keys {
        let value = match key.name {
            "environment" => "BASE=\"x y\",FROM=\"%(ENV_OUT)s\"",
            "umask" => "077",
            "user" => "nobody",
            "directory" => "%(here)s/base",
            _ => "1",
        };
        text.push_str(&format!("{} = {value}\n", key.name));
    }
    text.push_str("[program:full]\n");
    for key in super::keys::PROGRAM.keys {
        let value = match key.name {
            "command" => "srv --n %(process_num)d \"--own %(ENV_BASE)s\" %(ENV_OUT)s",
            "process_name" => "%(program_name)s.%(process_num)d",
            "numprocs" | "numprocs_start" => "2",
            "directory" => "sub",
            "environment" => "A=\"%(process_num)02d\"",
            "user" => "%(ENV_OUT)s",
            "autostart" => "true",
            "autorestart" => "unexpected",
            "exitcodes" => "0,2",
            "stopsignal" => "quit",
            "umask" => "027",
            "startsecs" => "20",
            "stopasgroup" => "true",
            "killasgroup" => "false",
            _ => "3",
        };
        text.push_str(&format!("{} = {value}\n", key.name));
    }
    text.push_str(
        "wrong = 1\n[program:plain]\ncommand = srv\nautorestart=true\nnumprocs=2\npriority=5\n\
         [program:off]\ncommand=srv\nautostart=no\nautorestart=no\n\
         [group:full]\nprograms=full,plain\npriority=7\n[other]\n",
    );
    for (start, _) in super::keys::SECTIONS {
        let x = if start.ends_with(':') { "x" } else { "" };
        text.push_str(&format!("[{start}{x}]\na=b\n"));
    }
    insta::assert_snapshot!(read(&text, &[("OUT", "ana"), ("PATH", "/bin")]));
}

#[test]
fn mistakes_are_shown_where_they_are() {
    let text = "[program:a]\ncommand = srv %d\n[program:b]\nnumprocs = many\nautostart = perhaps\n\
                [program:c]\ncommand = 'open\nenvironment = A\numask = 99\nautorestart = often\n\
                [group:g]\nprograms = a,nobody\nline\n[program:d]\ncommand=x %(process_num)d\nnumprocs=100000\n";
    insta::assert_snapshot!(read(text, &[]));
}

#[test]
fn files_are_included_by_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    std::fs::create_dir(dir.path().join("conf.d")).unwrap();
    write("conf.d/b.conf", "[program:b]\ncommand = %(here)s/b\n");
    write("conf.d/a1.conf", "[program:a]\ncommand = a\n");
    write("conf.d/.hidden.conf", "[program:hidden]\ncommand = a\n");
    write("conf.d/a.ini", "broken\n");
    write("supervisord.conf", "[include]\nfiles = conf.d/*.conf none/*\n");
    let path = dir.path().join("supervisord.conf");
    let loaded = load_with(&path, &BTreeMap::new()).unwrap();
    assert_eq!(loaded.config.services.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(loaded.config.sources.len(), 3);
    assert!(loaded.config.services["b"].program.command[0].ends_with("/b"));
    assert!(Path::new(&loaded.config.services["b"].program.command[0]).is_absolute());
    assert!(loaded.notes.iter().any(|note| note.why.contains("`none/*` matches no file")));
    write("supervisord.conf", "[include]\nfiles = conf.d/[a].?n*\n");
    let said = load_with(&path, &BTreeMap::new()).unwrap_err().to_string();
    assert!(said.contains("a.ini: line 1: expected"), "{said}");
}
