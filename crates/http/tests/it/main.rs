//! The application in process, over the testkit's fakes: one module to a part of the contract.
//!
//! [`support`] checks of every answer in every test what is true of all: the problem document is
//! complete, the request's id is there, no secret is, and the OpenAPI document told it.

#![cfg(test)]

mod accounts;
mod bodies;
mod categories;
mod cors;
mod failures;
mod health;
mod limits;
mod logs;
mod matrix;
mod openapi;
mod order;
mod pages;
mod problems;
mod requests;
mod serving;
mod support;
mod task_list;
mod tasks;
