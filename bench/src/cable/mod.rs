//! A cable with delay and loss between TAP devices, for kernels without netem (`bench/netns.sh` uses it).
//!
//! `Switch` decides where a frame goes and when; this driver has a thread that reads each device and one that
//! writes it.

mod options;
mod switch;

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tun_tap::{Iface, Mode};

pub use options::Options;
use switch::{Forward, Switch};

/// An Ethernet frame of a device with the largest MTU that we meet, with room to see that it is larger.
const FRAME_BYTES_MAX: usize = 9216 + 18;
/// Frames in flight towards one device; more are lost, as in a router. 1.5 GB/s over 10 ms of 1500-byte frames.
const QUEUE_FRAMES_MAX: usize = 10_000;

/// Forwards frames between the devices for ever, each `options.delay` late, and loses some.
///
/// Prints `ready` when it does.
///
/// # Errors
/// If a device cannot be opened, read or written.
pub fn run(options: &Options) -> Result<()> {
    let ports: Vec<Arc<Port>> =
        options.devices.iter().map(|name| Port::open(name)).collect::<Result<_>>()?;
    let switch = Mutex::new(Switch::new(ports.len(), options.loss, options.seed));
    println!("ready: {} devices, {:?} late, {} lost", ports.len(), options.delay, options.loss);
    std::thread::scope(|scope| {
        let (ports, switch) = (&ports, &switch);
        let mut threads = Vec::new();
        for (index, port) in ports.iter().enumerate() {
            threads.push(scope.spawn(move || port.write_all()));
            threads.push(scope.spawn(move || port.read_all(index, options.delay, ports, switch)));
        }
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Ok(())))
    })
}

/// A device with the frames that are on their way to it.
#[derive(Debug)]
struct Port {
    device: Iface,
    name: String,
    queue: Mutex<VecDeque<(Instant, Vec<u8>)>>,
    filled: Condvar,
}

impl Port {
    fn open(name: &str) -> Result<Arc<Self>> {
        let device = Iface::without_packet_info(name, Mode::Tap).with_context(|| {
            format!("cannot open the TAP device {name}: it takes root and /dev/net/tun")
        })?;
        let (queue, filled) = (Mutex::default(), Condvar::new());
        Ok(Arc::new(Self { device, name: name.to_owned(), queue, filled }))
    }

    fn read_all(
        &self,
        index: usize,
        delay: Duration,
        ports: &[Arc<Self>],
        switch: &Mutex<Switch>,
    ) -> Result<()> {
        let mut buffer = vec![0; FRAME_BYTES_MAX];
        loop {
            let bytes = self
                .device
                .recv(&mut buffer)
                .with_context(|| format!("cannot read the device {}", self.name))?;
            let (frame, due) = (&buffer[..bytes], Instant::now() + delay);
            let forward = locked(switch).forward(index, frame);
            match forward {
                Forward::Nowhere => {}
                Forward::To(port) => ports[port].push(due, frame),
                Forward::Everywhere => {
                    let others = ports.iter().enumerate().filter(|(other, _)| *other != index);
                    others.for_each(|(_, port)| port.push(due, frame));
                }
            }
        }
    }

    fn push(&self, due: Instant, frame: &[u8]) {
        let mut queue = locked(&self.queue);
        if queue.len() >= QUEUE_FRAMES_MAX {
            return;
        }
        queue.push_back((due, frame.to_vec()));
        // Its writer sleeps until the first frame is due; later ones change nothing.
        if queue.len() == 1 {
            drop(queue);
            self.filled.notify_one();
        }
    }

    fn write_all(&self) -> Result<()> {
        loop {
            let frame = self.next();
            match self.device.send(&frame) {
                // A device that is down loses what is sent to it.
                Err(error)
                    if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {}
                sent => {
                    sent.with_context(|| format!("cannot write the device {}", self.name))?;
                }
            }
        }
    }

    /// Waits until a frame is due.
    fn next(&self) -> Vec<u8> {
        let mut queue = locked(&self.queue);
        loop {
            let Some((due, _)) = queue.front() else {
                queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let wait = due.saturating_duration_since(Instant::now());
            if wait.is_zero()
                && let Some((_, frame)) = queue.pop_front()
            {
                return frame;
            }
            drop(queue);
            std::thread::sleep(wait);
            queue = locked(&self.queue);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
