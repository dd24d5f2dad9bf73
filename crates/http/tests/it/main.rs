//! The application in process, over the testkit's fakes: one module to a part of the contract.
//!
//! [`support`] checks of every answer in every test what is true of all: the problem document is
//! complete, the request's id is there, no secret is, and the OpenAPI document told it.

#![cfg(test)]

mod account_pages;
mod accounts;
mod bodies;
mod categories;
mod cors;
mod docs;
mod failures;
mod health;
mod leaving;
mod limits;
mod logs;
mod matrix;
mod metrics;
mod openapi;
mod order;
mod passwords;
mod problems;
mod requests;
mod security_events;
mod serving;
mod sessions;
mod support;
mod task_list;
mod tasks;
mod traces;
mod verification;
