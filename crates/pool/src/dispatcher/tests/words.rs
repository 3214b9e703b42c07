//! Words of attempts: heard live, kept, left to the next daemon.

use ganger_queue::{Attempt, How};

use super::{Fake, numbered, rig, rig_in};
use crate::attempt::{Answers, FromWorker};
use crate::dispatcher::Msg;
use crate::pace::Room;

fn words(lines: &[&str]) -> ganger_queue::Saying {
    let mut saying = ganger_queue::Saying::default();
    lines.iter().for_each(|line| saying.log(line, 1));
    saying
}

fn texts(said: &ganger_store::Said) -> Vec<&str> {
    said.lines.iter().map(|line| &*line.text).collect()
}

impl Fake {
    async fn says(&self, attempt: &Attempt, token: ganger_core::Token, lines: &[&str]) {
        let answers = Answers { session: 1, count: self.answers };
        let room = Room { credit: self.credit, reach: self.credit };
        let said = vec![(attempt.id, token, words(lines))];
        let (key, reports, began) = (self.key, vec![], vec![]);
        let note = FromWorker { key, reports, began, said, answers, room, lanes: 1, pid: 9 };
        self.tell.send(Msg::Worker(note)).await.unwrap();
    }
}

#[tokio::test]
async fn words_are_heard_live_and_the_stale_ones_are_not() {
    let rig = rig().await;
    let mut worker = rig.worker(1, 1).await;
    for queue in ["mem", "disk"] {
        let id = rig.tasks.push(queue, None, numbered(1)).await.unwrap().ids[0];
        let mut heard = rig.tasks.listen(id).await.unwrap();
        let got = worker.attempts().await;
        let attempt = got[0].clone();
        worker.says(&attempt, attempt.token, &["a", "b"]).await;
        let stale = ganger_core::Token { epoch: 0, ..attempt.token };
        worker.says(&attempt, stale, &["stale"]).await;
        worker.says(&attempt, attempt.token, &["c"]).await;
        let first = heard.recv().await.unwrap();
        assert_eq!((first.attempt, first.said.total, texts(&first.said)), (1, 2, vec!["a", "b"]));
        let second = heard.recv().await.unwrap();
        assert_eq!((second.said.total, texts(&second.said)), (3, vec!["c"]));
        let row = rig.tasks.get(id).await.unwrap();
        assert_eq!(texts(row.attempts[0].said.as_ref().unwrap()), ["a", "b", "c"], "{queue}");
        worker.end(got, |_| How::Completed("1".into())).await;
        assert!(heard.recv().await.is_none(), "it ends with the task");
        worker.says(&attempt, attempt.token, &["late"]).await;
        let row = rig.tasks.wait(id, None).await.unwrap();
        assert_eq!(texts(row.attempts[0].said.as_ref().unwrap()), ["a", "b", "c"], "{queue}");
    }
}

#[tokio::test]
async fn a_daemon_that_goes_in_order_leaves_all_words_to_the_next() {
    let rig = rig().await;
    let mut worker = rig.worker(1, 1).await;
    let id = rig.tasks.push("disk", None, numbered(1)).await.unwrap().ids[0];
    let got = worker.attempts().await;
    worker.says(&got[0], got[0].token, &["before"]).await;
    drop(worker);
    let (rig, claims) = rig_in(rig.close().await).await;
    let row = rig.tasks.get(id).await.unwrap();
    assert_eq!(texts(row.attempts[0].said.as_ref().unwrap()), ["before"]);
    // Its worker is gone: the end keeps the words.
    let gone = crate::pools::gone_for_tests(claims);
    rig.tasks.inbox.send(Msg::Worker(gone)).await.unwrap();
    let mut worker = rig.worker(2, 1).await;
    let got = worker.attempts().await;
    assert_eq!(got[0].n, 2);
    worker.end(got, |_| How::Completed("1".into())).await;
    let row = rig.tasks.wait(id, None).await.unwrap();
    assert_eq!(texts(row.attempts[0].said.as_ref().unwrap()), ["before"]);
    assert_eq!(row.attempts[1].said, None);
}
