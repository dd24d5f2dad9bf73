//! A store in memory.

mod housekeeping;
mod outbox;

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use tasks_domain::account::{
    Admission, ClientInfo, Credentials, Email, FailedLogin, FullName, LoginAttempts, NewAccount,
    NewRefreshToken, NewSession, PasswordChange, PasswordHash, RefreshTokenState, RefreshVerdict,
    Registration, Rotation, Session, SessionRef, SessionRepository, TokenDigest, User,
    UserRepository,
};
use tasks_domain::category::{
    Category, CategoryCreation, CategoryName, CategoryRepository, CategoryUpdate, Color,
};
use tasks_domain::clock::Timestamp;
use tasks_domain::health::{HealthProbe, SchemaProbe, SchemaState};
use tasks_domain::id::Id;
use tasks_domain::mail::{Mail, MailKind, NewMail};
use tasks_domain::page::Page;
use tasks_domain::store::StoreError;
use tasks_domain::task::{
    Assignment, SortBy, SortOrder, Task, TaskContent, TaskCreation, TaskFilter, TaskQuery,
    TaskRepository, TaskUpdate, Version,
};

use super::Switch;

/// Users, sessions, mails, tasks and categories in memory. Clones share them.
///
/// One lock is held over each call, so that every call is a transaction.
#[derive(Clone, Debug)]
pub struct FakeStore {
    tables: Arc<Mutex<Tables>>,
    schema: Arc<Mutex<SchemaState>>,
    unavailable: Switch,
}

#[derive(Debug, Default)]
struct Tables {
    accounts: BTreeMap<Id<User>, Account>,
    sessions: BTreeMap<Id<Session>, StoredSession>,
    refresh_tokens: HashMap<TokenDigest, StoredRefreshToken>,
    mails: BTreeMap<Id<Mail>, StoredMail>,
    tasks: BTreeMap<Id<Task>, StoredTask>,
    categories: BTreeMap<Id<Category>, Category>,
    assignments: BTreeSet<(Id<Task>, Id<Category>)>,
}

#[derive(Debug)]
struct Account {
    user: User,
    password_hash: PasswordHash,
    mail_tokens: HashMap<MailKind, MailToken>,
    attempts: LoginAttempts,
}

/// The token of a mail that an account accepts.
#[derive(Debug)]
struct MailToken {
    digest: TokenDigest,
    expires_at: Timestamp,
}

#[derive(Debug)]
struct StoredSession {
    session: Session,
    ended_at: Option<Timestamp>,
}

#[derive(Debug)]
struct StoredRefreshToken {
    session: Id<Session>,
    expires_at: Timestamp,
    used_at: Option<Timestamp>,
}

#[derive(Debug)]
struct StoredMail {
    mail: NewMail,
    due_at: Timestamp,
    attempts: u32,
    dead_at: Option<Timestamp>,
}

#[derive(Debug)]
struct StoredTask {
    /// Its categories are empty: they are assignments.
    task: Task,
    deleted_at: Option<Timestamp>,
}

impl Default for FakeStore {
    fn default() -> Self {
        Self {
            tables: Arc::default(),
            schema: Arc::new(Mutex::new(SchemaState::Current)),
            unavailable: Switch::default(),
        }
    }
}

/// What a test may do and see that no port offers. Works also while the store is not available.
impl FakeStore {
    /// Makes every call fail with [`StoreError::Unavailable`], or work again.
    pub fn fail_with_unavailable(&self, fail: bool) {
        self.unavailable.turn(fail);
    }

    /// Says how the schema stands from now on.
    pub fn set_schema(&self, state: SchemaState) {
        *self.schema.lock().unwrap() = state;
    }

    /// Proves a user's e-mail address.
    pub fn activate(&self, user: Id<User>) {
        self.set_active(user, true);
    }

    /// Takes the proof back.
    pub fn deactivate(&self, user: Id<User>) {
        self.set_active(user, false);
    }

    fn set_active(&self, user: Id<User>, is_active: bool) {
        if let Some(account) = self.lock().accounts.get_mut(&user) {
            account.user.is_active = is_active;
        }
    }

    /// Erases an account with everything that it owns, whatever its password.
    pub fn erase(&self, user: Id<User>) {
        self.lock().erase(user);
    }

    /// A user as stored.
    pub fn user(&self, user: Id<User>) -> Option<User> {
        Some(self.lock().accounts.get(&user)?.user.clone())
    }

    /// The hash of a user's password.
    pub fn password_hash(&self, user: Id<User>) -> Option<PasswordHash> {
        Some(self.lock().accounts.get(&user)?.password_hash.clone())
    }

    /// The digest of the token of a kind of mail that a user's account accepts, expired or not.
    pub fn mail_token(&self, user: Id<User>, kind: MailKind) -> Option<TokenDigest> {
        let tables = self.lock();
        let token = tables.accounts.get(&user)?.mail_tokens.get(&kind)?;
        Some(token.digest.clone())
    }

    /// The mails that wait or are being delivered, by id.
    pub fn waiting(&self) -> Vec<NewMail> {
        self.mails(|row| row.dead_at.is_none())
    }

    /// The mails that were given up, by id.
    pub fn dead(&self) -> Vec<NewMail> {
        self.mails(|row| row.dead_at.is_some())
    }

    fn mails(&self, is_so: impl Fn(&StoredMail) -> bool) -> Vec<NewMail> {
        let tables = self.lock();
        let rows = tables.mails.values().filter(|row| is_so(row));
        rows.map(|row| row.mail.clone()).collect()
    }

    /// When a mail is due; `None` if it is not in the outbox, or was given up.
    pub fn due_at(&self, mail: Id<Mail>) -> Option<Timestamp> {
        let tables = self.lock();
        let row = tables.mails.get(&mail)?;
        row.dead_at.is_none().then_some(row.due_at)
    }

    /// A user's failed logins.
    pub fn attempts(&self, user: Id<User>) -> Option<LoginAttempts> {
        Some(self.lock().accounts.get(&user)?.attempts)
    }

    /// All sessions of a user, ended ones too, by id.
    pub fn sessions_of(&self, user: Id<User>) -> Vec<Session> {
        let tables = self.lock();
        let sessions = tables.sessions.values().map(|row| &row.session);
        sessions.filter(|row| row.user == user).cloned().collect()
    }

    /// When a session was ended; `None` if it lives or never was.
    pub fn ended_at(&self, session: Id<Session>) -> Option<Timestamp> {
        self.lock().sessions.get(&session)?.ended_at
    }

    /// When a task was deleted; `None` if it is there or never was.
    pub fn deleted_at(&self, task: Id<Task>) -> Option<Timestamp> {
        self.lock().tasks.get(&task)?.deleted_at
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap()
    }

    /// The tables for one call of a port.
    fn transaction(&self) -> Result<MutexGuard<'_, Tables>, StoreError> {
        self.unavailable.unavailable()?;
        Ok(self.lock())
    }
}

#[async_trait]
impl UserRepository for FakeStore {
    async fn register(&self, account: NewAccount) -> Result<Registration, StoreError> {
        let tables = &mut *self.transaction()?;
        if tables.account_of(&account.user.email).is_some() {
            return Ok(Registration::EmailTaken);
        }
        let NewAccount {
            user,
            password_hash,
            mail,
            session,
        } = account;
        tables.store_mail(mail);
        tables.store_session(user.id, session);
        tables.accounts.insert(
            user.id,
            Account {
                user,
                password_hash,
                mail_tokens: HashMap::new(),
                attempts: LoginAttempts::default(),
            },
        );
        Ok(Registration::Registered)
    }

    async fn find_credentials(&self, email: &Email) -> Result<Option<Credentials>, StoreError> {
        let tables = &mut *self.transaction()?;
        Ok(tables.account_of(email).map(|account| Credentials {
            user: account.user.clone(),
            password_hash: account.password_hash.clone(),
            attempts: account.attempts,
        }))
    }

    async fn record_failed_login(
        &self,
        email: &Email,
        now: Timestamp,
    ) -> Result<FailedLogin, StoreError> {
        let tables = &mut *self.transaction()?;
        let Some(account) = tables.account_of(email) else {
            return Ok(FailedLogin::NoAccount);
        };
        let (attempts, outcome) = account.attempts.after_failure(now);
        account.attempts = attempts;
        Ok(outcome)
    }

    async fn rename(
        &self,
        user: Id<User>,
        full_name: FullName,
        now: Timestamp,
    ) -> Result<Option<User>, StoreError> {
        let tables = &mut *self.transaction()?;
        Ok(tables.accounts.get_mut(&user).map(|account| {
            account.user.full_name = full_name;
            account.user.updated_at = now;
            account.user.clone()
        }))
    }

    async fn verify_email(
        &self,
        token: &TokenDigest,
        now: Timestamp,
    ) -> Result<Option<User>, StoreError> {
        let tables = &mut *self.transaction()?;
        Ok(tables
            .use_token(MailKind::VerifyEmail, token, now)
            .map(|account| {
                account.user.is_active = true;
                account.user.updated_at = now;
                account.user.clone()
            }))
    }

    async fn find_by_reset_token(
        &self,
        token: &TokenDigest,
        now: Timestamp,
    ) -> Result<Option<Id<User>>, StoreError> {
        let tables = &*self.transaction()?;
        Ok(tables.token_owner(MailKind::ResetPassword, token, now))
    }

    async fn reset_password(
        &self,
        token: &TokenDigest,
        password_hash: PasswordHash,
        now: Timestamp,
    ) -> Result<Option<Id<User>>, StoreError> {
        let tables = &mut *self.transaction()?;
        let Some(account) = tables.use_token(MailKind::ResetPassword, token, now) else {
            return Ok(None);
        };
        account.password_hash = password_hash;
        account.attempts = LoginAttempts::default();
        account.user.updated_at = now;
        let user = account.user.id;
        tables.end_sessions(user, None, now);
        Ok(Some(user))
    }

    async fn change_password(
        &self,
        change: PasswordChange,
        now: Timestamp,
    ) -> Result<Admission, StoreError> {
        let tables = &mut *self.transaction()?;
        let account = match tables.admit(change.user, &change.old, now) {
            Ok(account) => account,
            Err(refusal) => return Ok(refusal),
        };
        account.password_hash = change.new;
        account.user.updated_at = now;
        account.mail_tokens.remove(&MailKind::ResetPassword);
        let email = account.user.email.clone();
        tables.drop_waiting(&email, MailKind::ResetPassword);
        tables.end_sessions(change.user, Some(change.kept), now);
        Ok(Admission::Granted)
    }

    async fn delete(
        &self,
        user: Id<User>,
        password_hash: PasswordHash,
        now: Timestamp,
    ) -> Result<Admission, StoreError> {
        let tables = &mut *self.transaction()?;
        if let Err(refusal) = tables.admit(user, &password_hash, now) {
            return Ok(refusal);
        }
        tables.erase(user);
        Ok(Admission::Granted)
    }
}

#[async_trait]
impl SessionRepository for FakeStore {
    async fn open(
        &self,
        user: Id<User>,
        password_hash: PasswordHash,
        session: NewSession,
        now: Timestamp,
    ) -> Result<Admission, StoreError> {
        let tables = &mut *self.transaction()?;
        if let Err(refusal) = tables.admit(user, &password_hash, now) {
            return Ok(refusal);
        }
        tables.make_room(user, now);
        tables.store_session(user, session);
        Ok(Admission::Granted)
    }

    async fn find(&self, id: Id<Session>, now: Timestamp) -> Result<Option<Session>, StoreError> {
        let tables = &*self.transaction()?;
        let row = tables.sessions.get(&id).filter(|row| row.goes_on(now));
        Ok(row.map(|row| row.session.clone()))
    }

    async fn list(&self, user: Id<User>, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        let tables = &*self.transaction()?;
        let rows = tables.sessions.values().filter(|row| row.goes_on(now));
        let own = rows.map(|row| &row.session).filter(|row| row.user == user);
        let mut sessions: Vec<Session> = own.cloned().collect();
        sessions.sort_by_key(|session| Reverse((session.created_at, session.id)));
        Ok(sessions)
    }

    async fn end(&self, id: Id<Session>, now: Timestamp) -> Result<bool, StoreError> {
        let tables = &mut *self.transaction()?;
        let row = tables.sessions.get_mut(&id);
        let Some(row) = row.filter(|row| row.goes_on(now)) else {
            return Ok(false);
        };
        row.ended_at = Some(now);
        Ok(true)
    }

    async fn end_all(&self, user: Id<User>, now: Timestamp) -> Result<(), StoreError> {
        self.transaction()?.end_sessions(user, None, now);
        Ok(())
    }

    async fn find_signed_in(&self, session: SessionRef) -> Result<Option<User>, StoreError> {
        let tables = &*self.transaction()?;
        let is_open = tables
            .sessions
            .get(&session.session)
            .is_some_and(|row| row.session.user == session.user && row.ended_at.is_none());
        let account = tables.accounts.get(&session.user).filter(|_| is_open);
        Ok(account.map(|account| account.user.clone()))
    }

    async fn rotate(
        &self,
        presented: &TokenDigest,
        successor: NewRefreshToken,
        client: ClientInfo,
    ) -> Result<Rotation, StoreError> {
        let tables = &mut *self.transaction()?;
        let now = successor.created_at;
        let Some(token) = tables.refresh_tokens.get_mut(presented) else {
            return Ok(Rotation::Refused);
        };
        let id = token.session;
        let row = tables.sessions.get_mut(&id).unwrap();
        let user = row.session.user;
        let session = SessionRef { user, session: id };
        let state = RefreshTokenState {
            expires_at: token.expires_at,
            used_at: token.used_at,
            session_ended: row.ended_at.is_some(),
        };
        match state.judge(now) {
            RefreshVerdict::Refuse => Ok(Rotation::Refused),
            RefreshVerdict::RefuseEnded => Ok(Rotation::Ended(session)),
            RefreshVerdict::RefuseRetry => Ok(Rotation::Retried(session)),
            RefreshVerdict::EndSession => {
                row.ended_at = Some(now);
                Ok(Rotation::Reused(session))
            }
            RefreshVerdict::Exchange => {
                token.used_at = Some(now);
                row.session.last_used_at = now;
                row.session.expires_at = successor.expires_at;
                row.session.client = client;
                tables.store_refresh_token(id, successor);
                let user = tables.accounts.get(&user).unwrap().user.clone();
                Ok(Rotation::Rotated { session, user })
            }
        }
    }

    async fn end_by_token(
        &self,
        presented: &TokenDigest,
        now: Timestamp,
    ) -> Result<Option<SessionRef>, StoreError> {
        let tables = &mut *self.transaction()?;
        let Some(token) = tables.refresh_tokens.get(presented) else {
            return Ok(None);
        };
        let row = tables.sessions.get_mut(&token.session).unwrap();
        row.ended_at.get_or_insert(now);
        Ok(Some(SessionRef {
            user: row.session.user,
            session: row.session.id,
        }))
    }
}

#[async_trait]
impl TaskRepository for FakeStore {
    async fn create(&self, task: &Task) -> Result<TaskCreation, StoreError> {
        let tables = &mut *self.transaction()?;
        if !tables.accounts.contains_key(&task.owner) {
            return Ok(TaskCreation::NoOwner);
        }
        let row = StoredTask {
            task: task.clone(),
            deleted_at: None,
        };
        tables.tasks.insert(task.id, row);
        Ok(TaskCreation::Created)
    }

    async fn find(&self, id: Id<Task>) -> Result<Option<Task>, StoreError> {
        Ok(self.transaction()?.read_task(id))
    }

    async fn list(&self, owner: Id<User>, query: &TaskQuery) -> Result<Page<Task>, StoreError> {
        let tables = &*self.transaction()?;
        let mut tasks: Vec<Task> = tables
            .tasks
            .keys()
            .filter_map(|id| tables.read_task(*id))
            .filter(|task| task.owner == owner && passes(task, &query.filter))
            .collect();
        tasks.sort_by(|a, b| in_order(query, a, b));
        Ok(Page {
            total: u64::try_from(tasks.len()).unwrap(),
            items: tasks
                .into_iter()
                .skip(usize::try_from(query.page.offset()).unwrap_or(usize::MAX))
                .take(usize::try_from(query.page.limit()).unwrap())
                .collect(),
            request: query.page,
        })
    }

    async fn update(
        &self,
        id: Id<Task>,
        expected: Version,
        content: &TaskContent,
        now: Timestamp,
    ) -> Result<TaskUpdate, StoreError> {
        let tables = &mut *self.transaction()?;
        let Some(task) = tables.live_task(id) else {
            return Ok(TaskUpdate::Gone);
        };
        if task.version != expected {
            return Ok(TaskUpdate::Conflict(task.version));
        }
        task.content = content.clone();
        task.version = expected.next();
        task.updated_at = now;
        Ok(tables
            .read_task(id)
            .map_or(TaskUpdate::Gone, TaskUpdate::Updated))
    }

    async fn delete(&self, id: Id<Task>, now: Timestamp) -> Result<bool, StoreError> {
        let tables = &mut *self.transaction()?;
        let row = tables.tasks.get_mut(&id);
        let Some(row) = row.filter(|row| row.deleted_at.is_none()) else {
            return Ok(false);
        };
        row.deleted_at = Some(now);
        Ok(true)
    }

    async fn assign(
        &self,
        task: Id<Task>,
        category: Id<Category>,
    ) -> Result<Assignment, StoreError> {
        let tables = &mut *self.transaction()?;
        if tables.live_task(task).is_none() || !tables.categories.contains_key(&category) {
            return Ok(Assignment::Gone);
        }
        if !tables.assignments.insert((task, category)) {
            return Ok(Assignment::AlreadyAssigned);
        }
        Ok(tables
            .read_task(task)
            .map_or(Assignment::Gone, Assignment::Assigned))
    }

    async fn unassign(&self, task: Id<Task>, category: Id<Category>) -> Result<bool, StoreError> {
        let tables = &mut *self.transaction()?;
        Ok(tables.live_task(task).is_some() && tables.assignments.remove(&(task, category)))
    }
}

#[async_trait]
impl CategoryRepository for FakeStore {
    async fn create(&self, category: &Category) -> Result<CategoryCreation, StoreError> {
        let tables = &mut *self.transaction()?;
        if !tables.accounts.contains_key(&category.owner) {
            return Ok(CategoryCreation::NoOwner);
        }
        if tables.name_is_taken(category) {
            return Ok(CategoryCreation::NameTaken);
        }
        tables.categories.insert(category.id, category.clone());
        Ok(CategoryCreation::Created)
    }

    async fn find(&self, id: Id<Category>) -> Result<Option<Category>, StoreError> {
        Ok(self.transaction()?.categories.get(&id).cloned())
    }

    async fn list(&self, owner: Id<User>) -> Result<Vec<Category>, StoreError> {
        let tables = &*self.transaction()?;
        let own = tables.categories.values().filter(|row| row.owner == owner);
        Ok(by_name(own))
    }

    async fn update(
        &self,
        id: Id<Category>,
        name: Option<CategoryName>,
        color: Option<Color>,
    ) -> Result<CategoryUpdate, StoreError> {
        let tables = &mut *self.transaction()?;
        let Some(mut category) = tables.categories.get(&id).cloned() else {
            return Ok(CategoryUpdate::Gone);
        };
        category.name = name.unwrap_or(category.name);
        category.color = color.unwrap_or(category.color);
        if tables.name_is_taken(&category) {
            return Ok(CategoryUpdate::NameTaken);
        }
        tables.categories.insert(id, category.clone());
        Ok(CategoryUpdate::Updated(category))
    }

    async fn delete(&self, id: Id<Category>) -> Result<bool, StoreError> {
        let tables = &mut *self.transaction()?;
        tables.assignments.retain(|(_, category)| *category != id);
        Ok(tables.categories.remove(&id).is_some())
    }
}

#[async_trait]
impl HealthProbe for FakeStore {
    async fn check(&self) -> Result<(), StoreError> {
        self.unavailable.unavailable()
    }
}

#[async_trait]
impl SchemaProbe for FakeStore {
    async fn schema(&self) -> Result<SchemaState, StoreError> {
        self.unavailable.unavailable()?;
        Ok(*self.schema.lock().unwrap())
    }
}

impl StoredSession {
    /// Whether it has neither ended nor expired.
    fn goes_on(&self, now: Timestamp) -> bool {
        self.ended_at.is_none() && self.session.expires_at > now
    }

    /// Whether it had ended at an instant.
    fn ended_before(&self, instant: Timestamp) -> bool {
        self.ended_at.is_some_and(|at| at <= instant)
    }
}

impl Tables {
    fn account_of(&mut self, email: &Email) -> Option<&mut Account> {
        let mut accounts = self.accounts.values_mut();
        accounts.find(|account| account.user.email == *email)
    }

    /// An account whose password was right, with its failures forgotten.
    fn admit(
        &mut self,
        user: Id<User>,
        password_hash: &PasswordHash,
        now: Timestamp,
    ) -> Result<&mut Account, Admission> {
        let account = self.accounts.get_mut(&user).ok_or(Admission::Outdated)?;
        if account.password_hash.expose() != password_hash.expose() {
            return Err(Admission::Outdated);
        }
        account.attempts = account
            .attempts
            .after_success(now)
            .map_err(Admission::Locked)?;
        Ok(account)
    }

    /// Whose token of a mail it is, if it works.
    fn token_owner(
        &self,
        kind: MailKind,
        digest: &TokenDigest,
        now: Timestamp,
    ) -> Option<Id<User>> {
        let works = |token: &MailToken| token.digest == *digest && token.expires_at > now;
        let mut accounts = self.accounts.values();
        let owner = accounts.find(|account| account.mail_tokens.get(&kind).is_some_and(works));
        Some(owner?.user.id)
    }

    /// Uses up a token of a mail that works; whose it was.
    fn use_token(
        &mut self,
        kind: MailKind,
        digest: &TokenDigest,
        now: Timestamp,
    ) -> Option<&mut Account> {
        let owner = self.token_owner(kind, digest, now)?;
        let email = self.accounts.get(&owner)?.user.email.clone();
        self.drop_waiting(&email, kind);
        let account = self.accounts.get_mut(&owner)?;
        account.mail_tokens.remove(&kind);
        Some(account)
    }

    fn erase(&mut self, user: Id<User>) {
        if let Some(account) = self.accounts.remove(&user) {
            self.mails
                .retain(|_, row| row.mail.to != account.user.email);
        }
        self.sessions.retain(|_, row| row.session.user != user);
        self.drop_tokens_without_session();
        self.tasks.retain(|_, row| row.task.owner != user);
        self.categories.retain(|_, row| row.owner != user);
        self.drop_assignments_without_end();
    }

    fn drop_tokens_without_session(&mut self) {
        let sessions = &self.sessions;
        self.refresh_tokens
            .retain(|_, row| sessions.contains_key(&row.session));
    }

    fn drop_assignments_without_end(&mut self) {
        let (tasks, categories) = (&self.tasks, &self.categories);
        self.assignments.retain(|(task, category)| {
            tasks.contains_key(task) && categories.contains_key(category)
        });
    }

    /// Takes mails of a kind to an address out of the outbox, unless they were given up.
    fn drop_waiting(&mut self, to: &Email, kind: MailKind) {
        self.mails
            .retain(|_, row| row.dead_at.is_some() || row.mail.to != *to || row.mail.kind != kind);
    }

    fn store_mail(&mut self, mail: NewMail) {
        let row = StoredMail {
            due_at: mail.created_at,
            mail,
            attempts: 0,
            dead_at: None,
        };
        self.mails.insert(row.mail.id, row);
    }

    fn end_sessions(&mut self, user: Id<User>, kept: Option<Id<Session>>, now: Timestamp) {
        for row in self.sessions.values_mut() {
            if row.session.user == user && Some(row.session.id) != kept {
                row.ended_at.get_or_insert(now);
            }
        }
    }

    /// Ends those of a user's sessions that were unused for longest, so that there is room for one more.
    fn make_room(&mut self, user: Id<User>, now: Timestamp) {
        let rows = self.sessions.values_mut();
        let mut own: Vec<_> = rows
            .filter(|row| row.session.user == user && row.goes_on(now))
            .collect();
        own.sort_by_key(|row| Reverse((row.session.last_used_at, row.session.id)));
        for row in own.into_iter().skip(Session::MAX_PER_USER - 1) {
            row.ended_at = Some(now);
        }
    }

    fn store_session(&mut self, user: Id<User>, new: NewSession) {
        let session = Session {
            id: new.id,
            user,
            created_at: new.refresh_token.created_at,
            last_used_at: new.refresh_token.created_at,
            expires_at: new.refresh_token.expires_at,
            client: new.client,
        };
        let row = StoredSession {
            session,
            ended_at: None,
        };
        self.sessions.insert(new.id, row);
        self.store_refresh_token(new.id, new.refresh_token);
    }

    fn store_refresh_token(&mut self, session: Id<Session>, new: NewRefreshToken) {
        let row = StoredRefreshToken {
            session,
            expires_at: new.expires_at,
            used_at: None,
        };
        self.refresh_tokens.insert(new.digest, row);
    }

    fn live_task(&mut self, id: Id<Task>) -> Option<&mut Task> {
        let row = self.tasks.get_mut(&id)?;
        row.deleted_at.is_none().then_some(&mut row.task)
    }

    /// A task that is not deleted, with its categories.
    fn read_task(&self, id: Id<Task>) -> Option<Task> {
        let row = self.tasks.get(&id).filter(|row| row.deleted_at.is_none())?;
        let assigned = self.assignments.iter().filter(|(task, _)| *task == id);
        let mut task = row.task.clone();
        task.categories =
            by_name(assigned.filter_map(|(_, category)| self.categories.get(category)));
        Some(task)
    }

    fn name_is_taken(&self, category: &Category) -> bool {
        self.categories.values().any(|other| {
            other.id != category.id && other.owner == category.owner && other.name == category.name
        })
    }
}

fn by_name<'a>(categories: impl Iterator<Item = &'a Category>) -> Vec<Category> {
    let mut categories: Vec<Category> = categories.cloned().collect();
    categories.sort_by(|a, b| a.name.cmp(&b.name));
    categories
}

/// Whether a task passes. Its categories are its owner's, so that nobody else's lets it pass.
fn passes(task: &Task, filter: &TaskFilter) -> bool {
    let content = &task.content;
    let due = content.due_date;
    filter.status.is_none_or(|status| content.status == status)
        && filter
            .priority
            .is_none_or(|priority| content.priority == priority)
        && filter
            .category
            .is_none_or(|id| task.categories.iter().any(|category| category.id == id))
        && filter
            .due_from
            .is_none_or(|from| due.is_some_and(|due| from <= due))
        && filter
            .due_to
            .is_none_or(|to| due.is_some_and(|due| due <= to))
}

/// Which of two tasks comes first.
fn in_order(query: &TaskQuery, a: &Task, b: &Task) -> Ordering {
    let by_key = match query.sort_by {
        SortBy::CreatedAt => a.created_at.cmp(&b.created_at),
        SortBy::UpdatedAt => a.updated_at.cmp(&b.updated_at),
        SortBy::DueDate => a.content.due_date.cmp(&b.content.due_date),
        SortBy::Priority => a.content.priority.cmp(&b.content.priority),
        SortBy::Title => a.content.title.cmp(&b.content.title),
    };
    let by_key = by_key.then(a.id.cmp(&b.id));
    let directed = match query.sort_order {
        SortOrder::Asc => by_key,
        SortOrder::Desc => by_key.reverse(),
    };
    let dateless_last =
        |task: &Task| Reverse(query.sort_by != SortBy::DueDate || task.content.due_date.is_some());
    dateless_last(a).cmp(&dateless_last(b)).then(directed)
}
