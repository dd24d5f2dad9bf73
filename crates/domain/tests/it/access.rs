//! Who may do what.

use tasks_domain::access::{AccessError, EmailNotVerified, VerifiedOnly, owned_by};
use tasks_testkit::build;

#[test]
fn a_user_gets_at_what_is_theirs_and_at_nothing_else() {
    let (owner, other) = (build::user().build(), build::user().build());
    let task = build::task(&owner).build();
    assert_eq!(owned_by(&owner, Some(task.clone())), Ok(task.clone()));
    assert_eq!(
        owned_by(&other, Some(task.clone())),
        Err(AccessError::Forbidden)
    );
    let category = build::category(&owner).build();
    assert_eq!(
        owned_by(&owner, Some(category.clone())),
        Ok(category.clone())
    );
    assert_eq!(
        owned_by(&other, Some(category)),
        Err(AccessError::Forbidden)
    );
    assert_eq!(
        owned_by(&owner, Some(task).filter(|_| false)),
        Err(AccessError::NotFound)
    );
}

#[test]
fn an_unverified_user_is_let_in_unless_the_operator_asks_for_verification() {
    let (unverified, verified) = (build::user().build(), build::user().active().build());
    assert_eq!(VerifiedOnly(false).admit(&unverified), Ok(()));
    assert_eq!(VerifiedOnly(false).admit(&verified), Ok(()));
    assert_eq!(VerifiedOnly(true).admit(&unverified), Err(EmailNotVerified));
    assert_eq!(VerifiedOnly(true).admit(&verified), Ok(()));
    assert_eq!(VerifiedOnly::default(), VerifiedOnly(false));
}
