//! `examples/replicas.rs` as a newcomer meets it, and a hundred rounds of it: one pass each.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::Output;

use common::example::command;
use common::redis::{Redis, free_port};

fn example(environment: &[(&str, &str)]) -> Output {
    command("replicas", environment).output().unwrap()
}

fn printed(output: &Output) -> String {
    String::from_utf8([&*output.stdout, &*output.stderr].concat()).unwrap()
}

#[test]
fn two_processes_race_for_one_code_a_hundred_times() {
    let Some(redis) = Redis::start(&[]) else { return };
    let output = example(&[("REDIS_URL", &redis.url()), ("ROUNDS", "100")]);
    let printed = printed(&output);
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("100 rounds: in 100 of them one of the two passed"), "{printed}");
    let passed_at = |replica: &str| printed.matches(&format!("replica {replica} says 200")).count();
    assert_eq!(passed_at("1") + passed_at("2"), 100);
    // Each attempt of each process was one of two round trips; were they not at one server, both would pass.
    let info: String = redis.ask(&["INFO", "commandstats"]);
    let calls = info.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")).unwrap();
    assert!(calls.split(',').next().unwrap().parse::<u64>().unwrap() >= 400, "{info}");
}

#[test]
fn it_brings_its_own_redis_or_says_what_is_missing() {
    if common::have(&["redis-server"]) {
        let output = example(&[("ROUNDS", "3")]);
        assert!(output.status.success() && printed(&output).contains("3 rounds: in 3"), "{}", printed(&output));
    }
    let output = example(&[("PATH", "/nowhere")]);
    assert!(
        !output.status.success() && printed(&output).contains("no REDIS_URL, and redis-server"),
        "{}",
        printed(&output)
    );
    let nobody = format!("redis://127.0.0.1:{}", free_port());
    let output = example(&[("REDIS_URL", &nobody)]);
    assert!(!output.status.success() && printed(&output).contains("refused"), "{}", printed(&output));
}
