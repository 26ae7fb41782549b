import ServicesCore
import UsersService

/// The command `users`.
@main
enum UsersCommand {
    static func main() async { await ServiceProgram<Users>.main() }
}
