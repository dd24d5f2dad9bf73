//! Valid values with sensible defaults: a test says only what it is about.
//!
//! Ids, e-mail addresses, names of categories and digests are unique within the process.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tasks_domain::account::{
    ClientInfo, Email, FullName, NewAccount, NewRefreshToken, NewSession, PasswordHash, SessionRef,
    TokenDigest, User,
};
use tasks_domain::category::{Category, CategoryName, Color};
use tasks_domain::clock::Timestamp;
use tasks_domain::id::{Id, IdGenerator};
use tasks_domain::mail::{MailKind, NewMail};
use tasks_domain::task::{
    Priority, Task, TaskContent, TaskDescription, TaskStatus, TaskTitle, Version,
};
use tasks_domain::trace::TraceParent;

use crate::clock::noon;
use crate::ids::SequentialIds;

/// How long a built refresh token works, as the service's default.
pub const REFRESH_TOKEN_TTL: Duration = Duration::from_hours(7 * 24);

/// Of the ids that are built; far from the seeds that a test may choose.
static IDS: SequentialIds = SequentialIds::new(u32::MAX);

/// An id that nothing has.
pub fn id<T>() -> Id<T> {
    Id::new(IDS.next_uuid())
}

/// A text that was never returned before.
fn unique() -> String {
    id::<()>().uuid().simple().to_string()
}

/// A valid e-mail address.
pub fn email(raw: &str) -> Email {
    Email::parse(raw).unwrap()
}

/// A valid name of a user.
pub fn full_name(raw: &str) -> FullName {
    FullName::parse(raw).unwrap()
}

/// A valid title.
pub fn title(raw: &str) -> TaskTitle {
    TaskTitle::parse(raw).unwrap()
}

/// A valid description.
pub fn description(raw: &str) -> TaskDescription {
    TaskDescription::parse(raw).unwrap()
}

/// A valid name of a category.
pub fn category_name(raw: &str) -> CategoryName {
    CategoryName::parse(raw).unwrap()
}

/// A valid colour.
pub fn color(raw: &str) -> Color {
    Color::parse(raw).unwrap()
}

/// 64 hex characters, the same for the same label and different for any other.
pub fn digest(label: &str) -> TokenDigest {
    let quarter = |n: u8| {
        let mut hasher = DefaultHasher::new();
        (n, label).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    };
    TokenDigest::new((0..4).map(quarter).collect::<String>())
}

/// A caller from 192.0.2.1.
pub fn client() -> ClientInfo {
    ClientInfo::new(Some("testkit/1.0"), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)))
}

/// A refresh token made at an instant, for [`REFRESH_TOKEN_TTL`].
pub fn refresh_token(created_at: Timestamp) -> NewRefreshToken {
    NewRefreshToken {
        id: id(),
        digest: digest(&unique()),
        expires_at: created_at.plus(REFRESH_TOKEN_TTL),
        created_at,
    }
}

/// A session opened at an instant.
pub fn session(created_at: Timestamp) -> NewSession {
    NewSession {
        id: id(),
        client: client(),
        refresh_token: refresh_token(created_at),
    }
}

/// Which session of which user a new session is going to be.
pub fn session_ref(user: &User, session: &NewSession) -> SessionRef {
    SessionRef {
        user: user.id,
        session: session.id,
    }
}

/// The hash of a password, the same for the same label and different for any other.
pub fn password_hash(label: &str) -> PasswordHash {
    PasswordHash::new(format!("hash-{label}"))
}

/// A place in a trace.
pub fn trace_parent() -> TraceParent {
    let (trace, span) = (id::<()>().uuid(), id::<()>().uuid().as_u64_pair().1);
    TraceParent::parse(&format!("00-{:032x}-{span:016x}-01", trace.as_u128())).unwrap()
}

/// A mail that is asked for at [`noon`].
pub fn mail(kind: MailKind, to: &Email) -> NewMail {
    mail_at(kind, to, noon())
}

/// A mail that is asked for at an instant.
pub fn mail_at(kind: MailKind, to: &Email, created_at: Timestamp) -> NewMail {
    NewMail {
        id: id(),
        kind,
        to: to.clone(),
        token: digest(&unique()),
        created_at,
        cause: Some(trace_parent()),
    }
}

/// An account of a user, with a session opened when the account is made.
pub fn account(user: &User) -> NewAccount {
    NewAccount {
        user: user.clone(),
        password_hash: password_hash(&unique()),
        mail: mail_at(MailKind::VerifyEmail, &user.email, user.created_at),
        session: session(user.created_at),
    }
}

/// A user who is not active, made at [`noon`].
pub fn user() -> UserBuilder {
    UserBuilder(User {
        id: id(),
        email: email(&format!("{}@example.com", unique())),
        full_name: full_name("Ada Lovelace"),
        is_active: false,
        created_at: noon(),
        updated_at: noon(),
    })
}

/// A user in the making.
#[derive(Clone, Debug)]
pub struct UserBuilder(User);

impl UserBuilder {
    /// With that e-mail address.
    #[must_use]
    pub fn email(mut self, raw: &str) -> Self {
        self.0.email = email(raw);
        self
    }

    /// With that name.
    #[must_use]
    pub fn full_name(mut self, raw: &str) -> Self {
        self.0.full_name = full_name(raw);
        self
    }

    /// Whose e-mail address is proven.
    #[must_use]
    pub fn active(mut self) -> Self {
        self.0.is_active = true;
        self
    }

    /// Made, and last changed, at that instant.
    #[must_use]
    pub fn created_at(mut self, at: Timestamp) -> Self {
        self.0.created_at = at;
        self.0.updated_at = at;
        self
    }

    /// The user.
    pub fn build(self) -> User {
        self.0
    }
}

/// A pending task of a user's without a due date, made at [`noon`].
pub fn task(owner: &User) -> TaskBuilder {
    TaskBuilder(Task {
        id: id(),
        owner: owner.id,
        content: TaskContent {
            title: title("Water the plants"),
            description: None,
            status: TaskStatus::Pending,
            priority: Priority::Medium,
            due_date: None,
        },
        version: Version::FIRST,
        categories: Vec::new(),
        created_at: noon(),
        updated_at: noon(),
    })
}

/// A task in the making.
#[derive(Clone, Debug)]
pub struct TaskBuilder(Task);

impl TaskBuilder {
    /// With that id.
    #[must_use]
    pub fn id(mut self, id: Id<Task>) -> Self {
        self.0.id = id;
        self
    }

    /// With that title.
    #[must_use]
    pub fn title(mut self, raw: &str) -> Self {
        self.0.content.title = title(raw);
        self
    }

    /// With that description.
    #[must_use]
    pub fn description(mut self, raw: &str) -> Self {
        self.0.content.description = Some(description(raw));
        self
    }

    /// That far.
    #[must_use]
    pub fn status(mut self, status: TaskStatus) -> Self {
        self.0.content.status = status;
        self
    }

    /// That important.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.0.content.priority = priority;
        self
    }

    /// Due at that instant.
    #[must_use]
    pub fn due(mut self, at: impl Into<Option<Timestamp>>) -> Self {
        self.0.content.due_date = at.into();
        self
    }

    /// At that version.
    #[must_use]
    pub fn version(mut self, version: i64) -> Self {
        self.0.version = Version::parse(version).unwrap();
        self
    }

    /// Filed under these categories, for a task that comes out of a mock: a store takes none.
    #[must_use]
    pub fn categories(mut self, categories: impl IntoIterator<Item = Category>) -> Self {
        self.0.categories = categories.into_iter().collect();
        self
    }

    /// Made, and last changed, at that instant.
    #[must_use]
    pub fn created_at(mut self, at: Timestamp) -> Self {
        self.0.created_at = at;
        self.0.updated_at = at;
        self
    }

    /// Last changed at that instant.
    #[must_use]
    pub fn updated_at(mut self, at: Timestamp) -> Self {
        self.0.updated_at = at;
        self
    }

    /// The task.
    pub fn build(self) -> Task {
        self.0
    }
}

/// A category of a user's with a name of its own, made at [`noon`].
pub fn category(owner: &User) -> CategoryBuilder {
    CategoryBuilder(Category {
        id: id(),
        owner: owner.id,
        name: category_name(&unique()),
        color: Color::default(),
        created_at: noon(),
    })
}

/// A category in the making.
#[derive(Clone, Debug)]
pub struct CategoryBuilder(Category);

impl CategoryBuilder {
    /// With that name.
    #[must_use]
    pub fn name(mut self, raw: &str) -> Self {
        self.0.name = category_name(raw);
        self
    }

    /// With that colour.
    #[must_use]
    pub fn color(mut self, raw: &str) -> Self {
        self.0.color = color(raw);
        self
    }

    /// Made at that instant.
    #[must_use]
    pub fn created_at(mut self, at: Timestamp) -> Self {
        self.0.created_at = at;
        self
    }

    /// The category.
    pub fn build(self) -> Category {
        self.0
    }
}
