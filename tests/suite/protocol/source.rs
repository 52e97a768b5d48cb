//! What the scripts' texts may not say.

use asgi_redis::scripts;

#[test]
fn no_script_walks_over_all_keys_or_blocks() {
    for script in scripts::all() {
        let source = script.source().to_uppercase();
        for command in ["KEYS", "EVAL", "EVALSHA", "FLUSHALL", "FLUSHDB", "SMEMBERS", "HGETALL", "WAIT"] {
            for call in ["CALL", "PCALL"] {
                for quote in ['\'', '"'] {
                    let forbidden = format!("REDIS.{call}({quote}{command}{quote}");
                    assert!(!source.contains(&forbidden), "{} runs {command}", script.name());
                }
            }
        }
        assert!(
            source.contains("REDIS.CALL('"),
            "{}: calls are written as this test reads them",
            script.name()
        );
    }
}
