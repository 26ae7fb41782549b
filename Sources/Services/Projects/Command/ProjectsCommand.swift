import ProjectsService
import ServicesCore

/// The command `projects`.
@main
enum ProjectsCommand {
    static func main() async { await ServiceProgram<Projects>.main() }
}
