//! `aft-model`: explores scenarios to the end and prints what came of it, then takes the rules away one at a time and prints what
//! broke. With names of scenarios: only those. With `rules`: only the second half.
#![allow(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::process::ExitCode;

use aft_model::explore::{self, REMOVED};
use aft_model::product::Unfit;
use aft_model::scenario::Scenario;

fn main() -> ExitCode {
    let names: Vec<_> = std::env::args().skip(1).collect();
    if let Some(unknown) = names.iter().find(|name| *name != "rules" && Scenario::named(name).is_none()) {
        let known: Vec<_> = Scenario::EVERY.iter().map(|scenario| scenario.name).collect();
        println!("{unknown} is no scenario; there are {} and rules", known.join(", "));
        return ExitCode::FAILURE;
    }
    let run = || {
        let explored = explored(&names)?;
        let removed = if names.is_empty() || names.iter().any(|name| name == "rules") { removed()? } else { true };
        Ok::<_, Unfit>(explored && removed)
    };
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(unfit) => {
            println!("{unfit}");
            ExitCode::FAILURE
        }
    }
}

/// By all rules.
fn explored(names: &[String]) -> Result<bool, Unfit> {
    let mut holds = true;
    let mut total = 0;
    println!("| scenario | promises | steps | states | depth | seconds |");
    println!("|---|---|---|---|---|---|");
    for scenario in Scenario::EVERY.iter().filter(|s| names.is_empty() || names.iter().any(|name| name == s.name)) {
        let explored = explore::to_the_end(scenario)?;
        let (promises, steps, states) = (explored.promises.len(), explored.steps, explored.states);
        let (depth, seconds) = (explored.depth, explored.took.as_secs_f32());
        total += states;
        println!("| `{}` | {promises} | {steps} | {states} | {depth} | {seconds:.1} |", scenario.name);
        for (promise, way) in &explored.broken {
            holds = false;
            println!("\nBroken: {promise}");
            way.iter().zip(1..).for_each(|(step, number)| println!("{number:>3}. {step}"));
        }
        for (situation, words, times) in &explored.met {
            let is_wanted = scenario.situations.contains(situation);
            holds &= *times > 0 || !is_wanted;
            if *times > 0 || is_wanted {
                println!("  {words}: {times}");
            }
        }
    }
    println!("\n{total} states in all\n");
    Ok(holds)
}

/// By all rules but one.
fn removed() -> Result<bool, Unfit> {
    let mut holds = true;
    println!("| rule taken away | switch | | scenario | promise that breaks | steps |");
    println!("|---|---|---|---|---|---|");
    let mut ways = Vec::new();
    for (rule, name, promise) in REMOVED {
        let found = Scenario::named(name).map(|scenario| explore::without(*rule, &scenario)).transpose()?.flatten();
        let broken = found.as_ref().and_then(|found| found.promises.iter().find(|broken| broken.starts_with(promise)));
        let broken = broken.copied().unwrap_or("none");
        holds &= broken != "none";
        let steps = found.as_ref().map_or(0, |found| found.steps.len());
        println!("| {} | `{rule:?}` | {} | `{name}` | {broken} | {steps} |", rule.number(), rule.text());
        ways.extend(found.map(|found| (rule, found)));
    }
    for (rule, found) in ways {
        println!("\nWithout {}, \"{}\", this breaks {}:", rule.number(), rule.text(), found.promises.join(" and "));
        found.steps.iter().zip(1..).for_each(|(step, number)| println!("{number:>3}. {step}"));
    }
    Ok(holds)
}
