"""The server of EX-4D: jobs, files and workers. Knows messages and jobs; what a job does is ex4d's part."""
