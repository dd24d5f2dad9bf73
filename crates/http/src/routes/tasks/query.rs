//! The parameters of a list of tasks.

use tasks_domain::page::PageRequest;
use tasks_domain::task::{Priority, SortBy, SortOrder, TaskFilter, TaskQuery, TaskStatus};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};

use crate::input::{QueryModel, QueryReader};
use crate::time;

impl QueryModel for TaskQuery {
    fn read(query: &mut QueryReader<'_>) -> Self {
        let number = query.number("page");
        let limit = query.number("limit");
        let page = PageRequest::new(
            number.unwrap_or(1),
            limit.unwrap_or(PageRequest::DEFAULT_LIMIT),
        )
        .unwrap_or_else(|invalid| {
            for (name, invalid) in [("page", invalid.page), ("limit", invalid.limit)] {
                if let Some(invalid) = invalid {
                    query.refuse(name, invalid);
                }
            }
            PageRequest::default()
        });
        Self {
            page,
            filter: TaskFilter {
                status: query.get("status", TaskStatus::parse),
                priority: query.get("priority", Priority::parse),
                category: query.id("category_id"),
                due_from: query.get("due_date_from", time::parse),
                due_to: query.get("due_date_to", time::parse),
            },
            sort_by: query.get("sort_by", SortBy::parse).unwrap_or_default(),
            sort_order: query
                .get("sort_order", SortOrder::parse)
                .unwrap_or_default(),
        }
    }
}

/// The parameters as the OpenAPI document tells them.
pub(super) struct TaskListParameters;

impl IntoParams for TaskListParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let number = |min: u64| {
            ObjectBuilder::new()
                .schema_type(Type::Integer)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
                .minimum(Some(min))
        };
        let one_of = |names: Vec<&'static str>| {
            ObjectBuilder::new()
                .schema_type(Type::String)
                .enum_values(Some(names))
        };
        let parameter = |name: &str, description: &str, schema: ObjectBuilder| {
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Query)
                .required(utoipa::openapi::Required::False)
                .description(Some(description))
                .schema(Some(schema.build()))
                .build()
        };
        let limit = PageRequest::LIMIT;
        vec![
            parameter(
                "page",
                "Which page, from 1.",
                number(1).default(Some(1.into())),
            ),
            parameter(
                "limit",
                "How many tasks a page has.",
                number(*limit.start())
                    .maximum(Some(*limit.end()))
                    .default(Some(PageRequest::DEFAULT_LIMIT.into())),
            ),
            parameter(
                "status",
                "Only tasks of that status.",
                one_of(TaskStatus::ALL.map(TaskStatus::as_str).to_vec()),
            ),
            parameter(
                "priority",
                "Only tasks of that priority.",
                one_of(Priority::ALL.map(Priority::as_str).to_vec()),
            ),
            parameter(
                "category_id",
                "Only tasks filed under that category; none if it is not the caller's.",
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid))),
            ),
            parameter(
                "due_date_from",
                "Only tasks due then or later.",
                time::schema("An RFC 3339 time with an offset; write `+` as `%2B`."),
            ),
            parameter(
                "due_date_to",
                "Only tasks due then or earlier.",
                time::schema("An RFC 3339 time with an offset; write `+` as `%2B`."),
            ),
            parameter(
                "sort_by",
                "By what they sort: priorities by rank, titles by code point; tasks without a due date come last in either direction.",
                one_of(SortBy::ALL.map(SortBy::as_str).to_vec())
                    .default(Some(SortBy::default().as_str().into())),
            ),
            parameter(
                "sort_order",
                "In which direction.",
                one_of(SortOrder::ALL.map(SortOrder::as_str).to_vec())
                    .default(Some(SortOrder::default().as_str().into())),
            ),
        ]
    }
}
