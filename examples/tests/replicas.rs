//! `examples/replicas`: a hundred rounds, its own Redis, and its errors.

use std::process::Output;

use test_support::example::command;
use test_support::redis::{Redis, free_port};

fn example(environment: &[(&str, &str)]) -> Output {
    command("replicas", environment).output().unwrap()
}

fn printed(output: &Output) -> String {
    String::from_utf8([&*output.stdout, &*output.stderr].concat()).unwrap()
}

#[test]
fn two_processes_accept_each_of_a_hundred_codes_once() {
    let Some(redis) = Redis::start(&[]) else { return };
    let output = example(&[("REDIS_URL", &redis.url()), ("ROUNDS", "100")]);
    let printed = printed(&output);
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("100 rounds: in 100 of them exactly one replica accepted the code."), "{printed}");
    let accepted_by = |replica: &str| printed.matches(&format!("replica {replica} answers 200")).count();
    assert_eq!(accepted_by("1") + accepted_by("2"), 100);
    // Each attempt makes two round trips to the Redis of the test. With separate servers, both replicas would accept.
    let info: String = redis.ask(&["INFO", "commandstats"]);
    let calls = info.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")).unwrap();
    assert!(calls.split(',').next().unwrap().parse::<u64>().unwrap() >= 400, "{info}");
}

#[test]
fn it_starts_a_redis_server_or_reports_what_is_missing() {
    if test_support::have(&["redis-server"]) {
        let output = example(&[("ROUNDS", "3")]);
        assert!(output.status.success() && printed(&output).contains("3 rounds: in 3"), "{}", printed(&output));
    }
    let output = example(&[("PATH", "/nowhere")]);
    assert!(
        !output.status.success() && printed(&output).contains("REDIS_URL is not set, and redis-server"),
        "{}",
        printed(&output)
    );
    let unused = format!("redis://127.0.0.1:{}", free_port());
    let output = example(&[("REDIS_URL", &unused)]);
    assert!(!output.status.success() && printed(&output).contains("refused"), "{}", printed(&output));
}
