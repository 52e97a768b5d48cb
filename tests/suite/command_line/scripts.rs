//! `scripts`: what is shown is what servers run.

use asgi_redis::scripts::{all, get};
use redis::aio::MultiplexedConnection;

use super::{program, run};
use crate::support::Server;

async fn loaded(connection: &mut MultiplexedConnection) -> Vec<bool> {
    let mut exists = redis::cmd("SCRIPT");
    exists.arg("EXISTS");
    for script in all() {
        exists.arg(script.sha());
    }
    exists.query_async(connection).await.unwrap()
}

#[test]
fn the_list_has_every_script_with_its_sha_slots_and_replies() {
    let out = run(program().arg("scripts")).done();
    assert_eq!(run(program().args(["scripts", "list"])).done(), out);
    let listed = run(program().args(["scripts", "--json"])).json().remove(0);
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), all().len());
    for (script, listed) in all().iter().zip(listed) {
        assert!(out.contains(&format!("{}  {}\n", script.name(), script.sha())), "{out}");
        assert_eq!(listed["name"], script.name());
        assert_eq!(listed["sha"], script.sha());
        assert_eq!(listed["doc"], script.doc());
        assert_eq!(listed["reply"].as_array().unwrap().len(), script.reply().len());
        let slots = listed["slots"].as_array().unwrap();
        assert_eq!(slots.len(), script.slots().len());
        for (slot, listed) in script.slots().iter().zip(slots) {
            assert!(out.contains(slot.text()), "{out}");
            assert_eq!(listed["name"], slot.name());
            assert_eq!(listed["type"], slot.ty());
            assert_eq!(listed["index"], slot.index());
            assert_eq!(listed["variadic"], slot.is_variadic());
        }
    }
    assert!(out.contains("KEYS[1...]  queue_keys "), "{out}");
    assert!(out.contains("  reply: {\"stale\"}"), "{out}");
}

#[test]
fn a_script_is_shown_as_the_server_gets_it() {
    let push = get("push").unwrap();
    assert_eq!(run(program().args(["scripts", "show", "push"])).done(), push.source());
    let shown = run(program().args(["scripts", "show", "push", "--json"])).json().remove(0);
    assert_eq!((shown["sha"].as_str(), shown["source"].as_str()), (Some(push.sha()), Some(push.source())));
}

#[test]
fn a_line_is_located_in_the_folder_of_scripts() {
    assert_eq!(run(program().args(["scripts", "locate", "push", "1"])).done(), "lua/push.lua:1\n");
    let source = get("push").unwrap().source();
    let line = 1 + source.lines().position(|line| line.starts_with("local function entry_time")).unwrap();
    let (file, there) = get("push").unwrap().locate(line.try_into().unwrap()).unwrap();
    assert_eq!(file, "lua/lib/entry.lua");
    let locate = ["scripts", "locate", "push", &line.to_string()];
    assert_eq!(run(program().args(locate)).done(), format!("lua/lib/entry.lua:{there}\n"));
    let located = run(program().args(locate).arg("--json")).json().remove(0);
    assert_eq!(located, serde_json::json!({"file": file, "line": there}));
}

#[tokio::test(flavor = "multi_thread")]
async fn loading_puts_every_script_on_the_server() {
    let server = Server::private();
    let mut connection = server.connection().await;
    assert!(loaded(&mut connection).await.iter().all(|loaded| !loaded));
    let out = run(program().args(["scripts", "load", "--redis", &server.url()])).done();
    assert!(loaded(&mut connection).await.iter().all(|loaded| *loaded));
    let lines: Vec<String> =
        all().iter().map(|script| format!("{}  {}", script.sha(), script.name())).collect();
    assert_eq!(out.lines().collect::<Vec<_>>(), lines);
    let again = run(program().args(["scripts", "load", "--json"]).env("ASGI_REDIS_URL", server.url()));
    assert_eq!(again.json()[0].as_array().unwrap().len(), all().len());
}
