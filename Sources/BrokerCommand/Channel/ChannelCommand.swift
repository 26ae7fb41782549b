import ArgumentParser

/// `broker channel`: NATS Streaming.
struct ChannelCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "channel",
        abstract: "Publish to, subscribe to, look into, purge and delete channels of NATS Streaming.",
        subcommands: [
            ChannelPublishCommand.self, ChannelSubscribeCommand.self, ChannelListCommand.self,
            ChannelInfoCommand.self, ChannelDumpCommand.self, ChannelPurgeCommand.self,
            ChannelDeleteCommand.self,
        ])
}
