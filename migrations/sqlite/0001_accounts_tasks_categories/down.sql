DROP TABLE task_categories;
DROP TABLE categories;
DROP TABLE tasks;
DROP TABLE uncounted_logins;
DROP TABLE refresh_tokens;
DROP TABLE sessions;
DROP TABLE users;
