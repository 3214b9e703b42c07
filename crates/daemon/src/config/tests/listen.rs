//! `listen`, `listen_mode` and `start`.

use super::{Folder, toml};

const WEB: &str = "version = 1\n[service.web]\ncommand = [\"sleep\", \"1\"]\n";

fn web(keys: &str) -> Folder {
    toml(&format!("{WEB}{keys}"))
}

#[test]
fn addresses_in_every_form() {
    let it = web(r#"
listen = ["tcp://:3000", { address = "unix://run/web.sock", name = "file", mode = "0660", owner = "root" }]
listen_mode = "inherit"
start = "on-demand"
node_drain = true
[service.one]
command = ["sleep", "1"]
listen = "tcp://[::1]:0"
listen_mode = "reuseport"
"#);
    let config = it.load("ganger.toml").unwrap().config;
    let services = serde_json::to_value(&config.services).unwrap();
    let (web, one) = (&services["web"], &services["one"]);
    assert_eq!(web["listen"][0]["address"], "tcp://:3000");
    assert_eq!(web["listen"][0]["name"], "web");
    let path = it.clean(web["listen"][1]["address"].as_str().unwrap());
    assert_eq!(path, "unix:///app/run/web.sock");
    assert_eq!(
        (&web["listen"][1]["mode"], &web["listen"][1]["owner"]),
        (&432.into(), &"root".into())
    );
    assert_eq!((&web["on_demand"], &web["listen_mode"]), (&true.into(), &serde_json::Value::Null));
    assert_eq!(one["listen_mode"], "reuseport");
    assert_eq!((&web["node_drain"], &one["node_drain"]), (&true.into(), &serde_json::Value::Null));
    let back: crate::config::Config =
        serde_json::from_value(serde_json::to_value(&config).unwrap()).unwrap();
    assert_eq!(back, config);
    assert_eq!(crate::config::verify(&config), Vec::<String>::new());
}

#[test]
fn mistakes_are_told_where_they_are() {
    for (keys, part) in [
        ("listen = 3000", "an address like \"tcp://127.0.0.1:3000\""),
        ("listen = \"3000\"", "does not say what it is"),
        ("listen = [\"tcp://a.example:1\"]", "looks up no names"),
        ("listen = { name = \"x\" }", "has no `address`"),
        ("listen = { address = \"tcp://:1\", mode = \"0600\" }", "`mode` is for the file"),
        ("listen = { address = \"unix://s\", mode = \"999\" }", "are no permissions"),
        (
            "listen = { address = \"unix://s\", name = \"a:b\" }",
            "can't be a name in LISTEN_FDNAMES",
        ),
        ("listen = [\"tcp://:1\", \"tcp://*:1\"]", "tcp://:1 is listed twice"),
        ("listen = \"udp://:1\"\nlisten_mode = \"reuseport\"", "`reuseport` is for TCP"),
        (
            "listen = \"udp://:1\"\nlisten_mode = \"pass\"",
            "UDP has no connections that `pass` could hand over",
        ),
        ("listen = \"tcp://:1\"\nlisten_mode = \"inherits\"", "did you mean \"inherit\"?"),
        ("listen_mode = \"reuseport\"", "`listen_mode` has no meaning without `listen`"),
        ("node_cluster = true\nlisten = \"tcp://:1\"", "says itself where it listens"),
        ("node_cluster = true\nlisten_mode = \"reuseport\"", "is nothing they know"),
        ("node_cluster = true\nstart = \"on-demand\"", "has no meaning without `listen`"),
        ("start = \"on-demand\"", "`start = \"on-demand\"` has no meaning without `listen`"),
        ("sockets = \"tcp://:1\"", "ganger calls this `listen`"),
        (
            "listen = \"tcp://:1\"\n[service.two]\ncommand = [\"sleep\", \"1\"]\nlisten = \"tcp://:1\"",
            "tcp://:1 is `two`'s already",
        ),
        ("listen = \"tcp://:3000\"\nready = { tcp = \":3000\" }", "`ready.tcp` says nothing here"),
        ("listen = \"tcp://:3000\"\nlive = { tcp = \":3000\" }", "`live.tcp` says nothing here"),
    ] {
        let found = web(keys).findings("ganger.toml");
        assert!(found.contains(part), "{keys}\n{found}");
    }
    assert_eq!(
        web("listen = \"tcp://:3000\"\nready = { tcp = \":3001\" }").findings("ganger.toml"),
        ""
    );
}

#[test]
fn a_ready_made_configuration_is_checked_too() {
    let mut config = web("listen = \"tcp://:3000\"").load("ganger.toml").unwrap().config;
    let web = config.services.get_mut("web").unwrap();
    web.listen[0].name = String::new();
    web.listen[0].mode = 0o7000;
    let again = web.listen[0].clone();
    web.listen.push(again);
    let other = web.clone();
    config.services.insert("zwei".into(), other);
    let wrong = crate::config::verify(&config).join("\n");
    for part in ["LISTEN_FDNAMES", "no permissions", "listed twice", "`web`'s already"] {
        assert!(wrong.contains(part), "{wrong}");
    }
}
