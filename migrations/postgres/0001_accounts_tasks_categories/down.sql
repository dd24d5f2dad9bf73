DROP TABLE task_categories;
DROP TABLE categories;
DROP TABLE tasks;
DROP TABLE refresh_tokens;
DROP TABLE sessions;
DROP TABLE users;
DROP TYPE task_priority;
DROP TYPE task_status;
