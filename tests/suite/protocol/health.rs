//! health: what a server or its user's rights do not allow is told before a message meets it.

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;

use crate::support::{Scripts, Server};

pub(super) const RIGHTS: &[&str] = &["on", "nopass", "~*", "&*", "+@all"];

pub(super) async fn as_user(server: &Server, rights: &[&str]) -> Scripts {
    let mut admin = server.connection().await;
    let mut user = redis::cmd("ACL");
    user.arg("SETUSER").arg("user").arg("reset").arg(rights);
    let () = user.query_async(&mut admin).await.unwrap();
    let url = format!("redis://user:any@{}", server.address());
    let connection = crate::support::connect(&url).await;
    Scripts::new(connection, "asgi:")
}

/// Every command that a script calls, of the texts in lua/.
fn commands() -> BTreeSet<String> {
    let call = Regex::new(r"redis\.p?call\('([A-Z]+)'").unwrap();
    let lua = Path::new(env!("CARGO_MANIFEST_DIR")).join("lua");
    let mut commands = BTreeSet::new();
    for folder in [lua.clone(), lua.join("lib")] {
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "lua") {
                let text = std::fs::read_to_string(path).unwrap();
                commands.extend(call.captures_iter(&text).map(|found| found[1].to_owned()));
            }
        }
    }
    commands
}

#[tokio::test]
async fn each_command_of_the_scripts_is_named_when_the_user_has_no_right_to_it() {
    let server = Server::private();
    let all = as_user(&server, RIGHTS).await;
    all.load().await;
    assert_eq!(all.health("c").await, Ok(()));
    let commands = commands();
    assert!(commands.len() > 30, "{commands:?}");
    // Who may not flush needs no right to the first two, and MEMORY USAGE is asked only where the user may.
    for command in
        commands.into_iter().filter(|command| !["SCAN", "TYPE", "MEMORY"].contains(&command.as_str()))
    {
        let without = format!("-{}", command.to_ascii_lowercase());
        let user = as_user(&server, &[RIGHTS, &[&without]].concat()).await;
        let denied = user.health("c").await.unwrap_err();
        assert!(
            denied.contains(&command) || denied.contains("can't run this command"),
            "-{command}: {denied}"
        );
    }
    let here = as_user(&server, &["on", "nopass", "~asgi:*", "resetchannels", "&asgi:wake:*", "+@all"]).await;
    assert_eq!(here.health("c").await, Ok(()));
    let elsewhere = as_user(&server, &["on", "nopass", "~other:*", "&*", "+@all"]).await;
    elsewhere.health("c").await.unwrap_err();
    let deaf = as_user(&server, &["on", "nopass", "~*", "resetchannels", "+@all"]).await;
    assert_eq!(deaf.health("c").await, Err("PUBLISH".to_owned()));
}
