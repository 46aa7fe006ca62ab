use super::*;

/// A task of worker 0 that says it will be held up, if it is told to, and ends.
fn task(scheduler: &Arc<Scheduler>, hands_over: bool) -> Arc<Task> {
    Task::new(
        scheduler,
        0,
        Box::pin(async move {
            if hands_over {
                LocalQueue::hand_over();
            }
        }),
    )
}

#[test]
fn a_worker_that_will_be_held_up_gives_its_queue_away_at_once() {
    let (scheduler, mut deques) = Scheduler::new(1, 1);
    LocalQueue::install(&scheduler, 0, deques.remove(0));
    let (first, second) = (task(&scheduler, true), task(&scheduler, false));
    Task::wake(&first);
    Task::wake(&second);
    assert!(scheduler.steal(1).is_none(), "it polls nothing yet");
    let polled = LocalQueue::pop().expect("the first task");
    // What `poll` does, so that its end can be looked at.
    polled.run();
    assert!(scheduler.takes_hand_over(), "nobody sleeps, so the monitor is told");
    assert!(!scheduler.takes_hand_over(), "once");
    let stolen = scheduler.steal(1).expect("the second task");
    assert!(Arc::ptr_eq(&stolen, &second));
    scheduler.poll(0, &task(&scheduler, false));
    assert!(!scheduler.worker(0).held_up.load(Ordering::Relaxed), "until the poll is over");
    LocalQueue::uninstall();
}

#[test]
fn a_worker_without_a_queue_bothers_nobody() {
    let (scheduler, mut deques) = Scheduler::new(1, 1);
    LocalQueue::install(&scheduler, 0, deques.remove(0));
    let only = task(&scheduler, true);
    Task::wake(&only);
    LocalQueue::pop().expect("the task").run();
    assert!(!scheduler.takes_hand_over());
    LocalQueue::uninstall();
    // A thread that is no worker's hands nothing over.
    LocalQueue::hand_over();
}
