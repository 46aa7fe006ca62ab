//! `faasm-run migrate` and `faasm-run drain`: ranks of a running job go to other nodes.

use super::orders;
use crate::args::MigrateArgs;

/// Gives an order; the exit status of this process.
pub(crate) fn order(args: &MigrateArgs) -> i32 {
    match give(args) {
        Ok(text) => {
            println!("faasm-run: {text}");
            0
        }
        Err(error) => {
            eprintln!("faasm-run: {error:#}");
            1
        }
    }
}

fn give(args: &MigrateArgs) -> anyhow::Result<String> {
    let ranks: Vec<String> = args.ranks.iter().map(u32::to_string).collect();
    let ranks = if ranks.is_empty() { "-".to_owned() } else { ranks.join(",") };
    let or_none = |node: &Option<String>| node.clone().unwrap_or_else(|| "-".to_owned());
    let order = format!("migrate {ranks} {} {}", or_none(&args.from), or_none(&args.to));
    orders::give(args.process.unsigned_abs(), &order)
}
