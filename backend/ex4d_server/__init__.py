"""The EX-4D server: jobs, files and workers. It knows messages and jobs; what a job does is up to ex4d."""
