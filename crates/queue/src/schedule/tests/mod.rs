mod calendar;
mod machine;
mod model;
mod words;
