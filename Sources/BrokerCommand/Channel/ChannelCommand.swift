import ArgumentParser

/// `broker channel`: NATS Streaming.
struct ChannelCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "channel",
        abstract: "Publish to, subscribe to and look into channels of NATS Streaming.",
        subcommands: [
            ChannelPublishCommand.self, ChannelSubscribeCommand.self, ChannelListCommand.self,
            ChannelInfoCommand.self, ChannelDumpCommand.self,
        ])
}
