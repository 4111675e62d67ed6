// Flamenco job type "EX-4D Take": put this file into the `scripts` folder beside the Flamenco Manager.
// Make the job file with `ex4d generate --job_file`, in a place where all workers can read it and the files it names.
const JOB_TYPE = {
    label: "EX-4D Take",
    description: "Shoot a clip again from another camera, from an EX-4D job file",
    settings: [
        { key: "job_file", type: "string", required: true, subtype: "file_path",
          description: "Job file, as ex4d generate --job_file writes it" },
        { key: "output_dir", type: "string", required: true, subtype: "dir_path",
          description: "Folder for the take; an older take is replaced" },
        { key: "ex4d", type: "string", required: true, default: "ex4d",
          description: "The program ex4d on the workers" },
    ],
};

function compileJob(job) {
    const task = author.Task("take", "misc");
    task.addCommand(author.Command("exec", {
        exe: job.settings.ex4d,
        args: ["run", job.settings.job_file, "--output_dir", job.settings.output_dir],
    }));
    job.addTask(task);
}
