//! `faasm-cable [delay TIME] [loss PERCENT] -- DEVICE DEVICE...`: the words that netem has.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// What the cable is like.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// How late each frame arrives.
    pub delay: Duration,
    /// The part of the frames that is lost, 0 to 1.
    pub loss: f64,
    /// Which frames are lost.
    pub seed: u64,
    /// The TAP devices that it joins.
    pub devices: Vec<String>,
}

/// A cable around the world is shorter.
const DELAY_MAX: Duration = Duration::from_secs(10);
/// Each device takes two threads.
const DEVICES_MAX: usize = 64;

impl Options {
    /// Reads the command line, without the program's name.
    ///
    /// # Errors
    /// If it is not understood.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut words = words.into_iter();
        let mut options = Self { delay: Duration::ZERO, loss: 0.0, seed: 1, devices: Vec::new() };
        while let Some(word) = words.next().filter(|word| word != "--") {
            let value = words.next().with_context(|| format!("{word} needs a value"))?;
            match &*word {
                "delay" => options.delay = time(&value)?,
                "loss" => options.loss = part(&value)?,
                "seed" => options.seed = value.parse().context("seed must be a number")?,
                _ => bail!("{word} is unknown. {USAGE}"),
            }
        }
        options.devices = words.collect();
        ensure!(
            (2..=DEVICES_MAX).contains(&options.devices.len()),
            "a cable joins 2 to {DEVICES_MAX} devices. {USAGE}"
        );
        Ok(options)
    }
}

const USAGE: &str = "Usage: faasm-cable [delay 1ms] [loss 0.1%] [seed 1] -- DEVICE DEVICE...";

fn time(text: &str) -> Result<Duration> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => bail!("delay must be a time such as 500us or 1ms, not {text:?}"),
    };
    let number: f64 =
        text.strip_suffix(unit).unwrap_or(text).parse().with_context(|| format!("{text:?}"))?;
    let delay =
        Duration::try_from_secs_f64(number * seconds).with_context(|| format!("{text:?}"))?;
    ensure!(delay <= DELAY_MAX, "a delay of more than {DELAY_MAX:?} is not supported");
    Ok(delay)
}

fn part(text: &str) -> Result<f64> {
    let number = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
    match number.filter(|number| (0.0..=100.0).contains(number)) {
        Some(number) => Ok(number / 100.0),
        None => bail!("loss must be 0% to 100%, not {text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn understands_what_netem_understands() {
        let options = parse("delay 1.5ms loss 0.1% -- a b").expect("valid");
        assert_eq!(options.delay, Duration::from_micros(1500));
        assert!((options.loss - 0.001).abs() < 1e-12);
        assert_eq!(options.devices, ["a", "b"]);
        assert_eq!(parse("-- a b").expect("valid").delay, Duration::ZERO);
    }

    #[test]
    fn refuses_the_rest() {
        for line in [
            "",
            "-- a",
            "delay",
            "delay 1 -- a b",
            "delay -1ms -- a b",
            "delay 1h -- a b",
            "delay 11s -- a b",
            "loss 1 -- a b",
            "loss 101% -- a b",
            "loss nan% -- a b",
            "jitter 1ms -- a b",
        ] {
            assert!(parse(line).is_err(), "{line:?} was accepted");
        }
    }
}
