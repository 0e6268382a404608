//! Approvals that the application ends before they are decided.
use crate::support::phones::{Ask, Decision, Phones, approvals, service};
use crate::support::{Calls, Clock, T, alice, kind};
use tower_toopher::store::MemoryStore;
use tower_toopher::verify::{ApprovalToken, SessionId};
use tower_toopher::{DenyReason, RejectionKind, UserId};

#[tokio::test]
async fn a_withdrawn_approval_is_invalid_and_remains_counted() {
    let (phones, clock) = (Phones::default(), Clock::from_secs(T));
    let approvals = approvals(&phones, MemoryStore::new(), &clock);
    let service = service(approvals.clone(), &Calls::default());
    let session = SessionId::new("session=1").unwrap();
    let token = ApprovalToken::new(&Ask::default().begin(&service).await).unwrap();

    // Neither another user nor another session can end it.
    for (user, session) in [("bob", "session=1"), ("alice", "session=2")] {
        let (user, session) = (UserId::new(user).unwrap(), SessionId::new(session).unwrap());
        assert!(approvals.withdraw(&user, &session, &token).await.unwrap().is_none());
    }
    assert_eq!(Ask::default().token(token.as_str()).send(&service).await.status(), 202);

    assert!(approvals.withdraw(&alice(), &session, &token).await.unwrap().is_some());
    phones.decide(Decision::Allowed);
    let response = Ask::default().token(token.as_str()).send(&service).await;
    assert_eq!(kind(&response), Some(RejectionKind::Denied(DenyReason::InvalidApproval)));

    // Each of the following requests is another push, up to the limit.
    phones.decide(Decision::Undecided);
    for _ in 0..4 {
        let token = ApprovalToken::new(&Ask::default().begin(&service).await).unwrap();
        assert!(approvals.withdraw(&alice(), &session, &token).await.unwrap().is_some());
    }
    let response = Ask::default().send(&service).await;
    assert_eq!(kind(&response), Some(RejectionKind::Denied(DenyReason::OtpRequired)));
}
